/**
 * Where a chaos run happens: a server for each side, tables of every kind, and in each database a record of every row
 * that anybody writes, made by triggers in the writer's own transaction. The record is what the checks believe.
 */
import { Effect, Redacted, type Scope } from "effect"
import { spawn } from "node:child_process"
import * as Fs from "node:fs/promises"
import * as Os from "node:os"
import * as Path from "node:path"
import { type Side, sides } from "../../src/domain/Side.ts"
import type { EmbeddedPostgres } from "../../src/services/EmbeddedPostgres.ts"
import type { EmbeddedPostgresError } from "../../src/services/PostgresBinaries.ts"
import { query, type TestSqlError } from "../support/TestClient.ts"
import { freshServer } from "../support/TestServer.ts"

export interface Member {
  readonly side: Side
  readonly server: EmbeddedPostgres
  /** The owner's: an ordinary role, which is the app and the service. */
  readonly url: Redacted.Redacted
  /** The superuser's, of the same database. */
  readonly admin: Redacted.Redacted
  /** Where `notas` and the service's stages are, if the machine lets a small disk be mounted. */
  readonly smallDisk: string | null
}

export type Arena = Readonly<Record<Side, Member>>

/** Tables by name, with the column whose text tells every written version from every other, and the key's columns. */
export const tables = {
  perfis: { token: "nome", key: ["id"] },
  itens: { token: "texto", key: ["perfil_id", "numero"] },
  notas: { token: "texto", key: ["id"] }
} as const
export type TableName = keyof typeof tables
export const tableNames = Object.keys(tables) as ReadonlyArray<TableName>

/** What is compared of a row with what an app wrote: neither its key, which a cascade moves, nor its stamp. */
export const contentOf = (table: TableName, row: string): string =>
  `md5((to_jsonb(${row}) - '{updated_at,${tables[table].key.join(",")}}'::text[])::text)`

export const make: Effect.Effect<Arena, EmbeddedPostgresError | TestSqlError, Scope.Scope> = Effect.suspend(() =>
  Effect.all({ replit: makeMember("replit"), external: makeMember("external") }, { concurrency: 2 })
)

const makeMember = Effect.fnUntraced(function*(side: Side) {
  const server = yield* freshServer({ track_commit_timestamp: "on", deadlock_timeout: "300ms" })
  const smallDisk = yield* mountSmallDisk(server)
  // Each process of the service comes from an address of its own. Programs of COPY run in the data directory.
  yield* query(
    server.url(),
    "copy (select 'host all all 127.0.0.0/8 scram-sha-256') to program 'cat >> pg_hba.conf'; select pg_reload_conf()"
  )
  yield* query(server.url(), "create role dono login password 'dono'")
  yield* query(server.url(), "create database dados owner dono")
  const admin = server.url("dados")
  if (smallDisk !== null) {
    yield* query(admin, `create tablespace pequeno owner dono location '${smallDisk}'`)
    yield* query(admin, "alter role dono set temp_tablespaces = 'pequeno'")
  }
  const url = Redacted.make(
    Object.assign(new URL(Redacted.value(admin)), { username: "dono", password: "dono" }).href
  )
  yield* query(url, schema(smallDisk === null ? "" : "tablespace pequeno"))
  return { side, server, url, admin, smallDisk } satisfies Member
})

const schema = (tablespace: string) => `
  create type humor as enum ('bom', 'mau', 'assim assim');
  create table perfis (id text primary key, nome text not null, email text unique, valor numeric, dados jsonb,
    bruto bytea, momento timestamptz, lista text[], updated_at timestamptz);
  create table itens (perfil_id text references perfis on update cascade on delete cascade, numero integer,
    texto text not null, dura interval, updated_at timestamptz, primary key (perfil_id, numero));
  create table notas (id integer primary key, texto text not null, faixa int4range, ponto point, tipo humor,
    endereco inet) ${tablespace};
  create function carimbo() returns trigger language plpgsql as $$
    begin new.updated_at := now(); return new; end $$;
  create trigger carimbo before update on perfis for each row execute function carimbo();

  create schema chaos;
  create table chaos.written (n bigint generated always as identity primary key, xid xid8 default pg_current_xact_id(),
    at timestamptz default clock_timestamp(), by text default current_setting('application_name'),
    address text default host(inet_client_addr()), tab text, old_key text, new_key text, old_token text,
    new_token text, content text);
  ${tableNames.map(recording).join("\n")}`

const recording = (table: TableName) => {
  const { key, token } = tables[table]
  const keyOf = (row: string) => key.map((column) => `${row}.${column}`).join(" || ',' || ")
  const note = (table: string, [oldKey, newKey, oldToken, newToken, content]: ReadonlyArray<string>, from = "") =>
    `insert into chaos.written (tab, old_key, new_key, old_token, new_token, content)
     select '${table}', ${oldKey}, ${newKey}, ${oldToken}, ${newToken}, ${content} ${from}`
  const [before, after] = [[keyOf("old"), `old.${token}`], [keyOf("new"), `new.${token}`]]
  const content = contentOf(table, "new")
  return `
    create function chaos.note_${table}() returns trigger language plpgsql as $$ begin
      if tg_op = 'INSERT' then ${note(table, ["null", after[0]!, "null", after[1]!, content])};
      elsif tg_op = 'UPDATE' then ${note(table, [before[0]!, after[0]!, before[1]!, after[1]!, content])};
      elsif tg_op = 'DELETE' then ${note(table, [before[0]!, "null", before[1]!, "null", "null"])};
      else ${note(table, [keyOf("t"), "null", `t.${token}`, "null", "null"], `from public.${table} t`)};
      end if; return null; end $$;
    create trigger note after insert or update or delete on ${table} for each row execute function chaos.note_${table}();
    create trigger note_truncate before truncate on ${table} for each statement execute function chaos.note_${table}();`
}

/** 24 MB in memory, which the server's account owns; null where that can't be mounted. */
const mountSmallDisk = (server: EmbeddedPostgres) =>
  Effect.gen(function*() {
    const folder = yield* Effect.promise(() => Fs.mkdtemp(Path.join(Os.tmpdir(), "vaivem-disk-")))
    const isMounted = yield* run("mount", ["-t", "tmpfs", "-o", "size=24m", "tmpfs", folder])
    yield* Effect.addFinalizer(() =>
      Effect.zipRight(
        // The server is stopped after this; lazily, the mount goes when nobody has a file of it open.
        isMounted ? run("umount", ["-l", folder]) : Effect.void,
        Effect.promise(() => Fs.rm(folder, { recursive: true, force: true }))
      )
    )
    if (!isMounted) return null
    const pid = yield* server.pid
    yield* Effect.promise(async () => {
      const { gid, uid } = await Fs.stat(`/proc/${pid}`)
      await Fs.chown(folder, uid, gid)
      await Fs.chmod(folder, 0o700)
    })
    return folder
  })

const run = (command: string, args: ReadonlyArray<string>) =>
  Effect.async<boolean>((resume) => {
    const child = spawn(command, args, { stdio: "ignore" })
    child.once("error", () => resume(Effect.succeed(false)))
    child.once("exit", (code) => resume(Effect.succeed(code === 0)))
  })

/** The URL of each side, for a process that goes there directly. */
export const urlsOf = (arena: Arena): Readonly<Record<Side, Redacted.Redacted>> => ({
  replit: arena.replit.url,
  external: arena.external.url
})

/** Runs something on both sides, one after the other. */
export const onEach = <A, E, R>(arena: Arena, look: (member: Member) => Effect.Effect<A, E, R>) =>
  Effect.map(
    Effect.forEach(sides, (side) => look(arena[side])),
    ([replit, external]): Readonly<Record<Side, A>> => ({ replit: replit!, external: external! })
  )
