/**
 * Two servers as they come (default durability: a commit is on the disk), and on them pairs of databases with a table
 * `perfis`. Every measurement starts on a new pair, so that none pays for the dead rows and the history of another.
 */
import { Effect, Redacted, type Scope } from "effect"
import { randomBytes } from "node:crypto"
import { type Side, sides } from "../../src/domain/Side.ts"
import * as EmbeddedPostgres from "../../src/services/EmbeddedPostgres.ts"
import type { EmbeddedPostgresError } from "../../src/services/PostgresBinaries.ts"
import { connect, query, type TestClient, type TestSqlError } from "../support/TestClient.ts"
import { BenchError } from "./BenchError.ts"

/** One side of a pair. */
export interface BenchDatabase {
  readonly name: string
  /** An ordinary role's, which owns the database. */
  readonly url: Redacted.Redacted
  /** The app: the same role. */
  readonly app: TestClient
  /** Writes down what the server holds in memory, so that no measurement pays for what was written before it. */
  readonly settle: Effect.Effect<void, TestSqlError>
}

export interface BenchPair extends Readonly<Record<Side, BenchDatabase>> {
  /** Fails unless `perfis` holds the same rows on both sides, so many, and nothing is pending. */
  readonly assertEqual: (rows: number) => Effect.Effect<void, BenchError | TestSqlError>
  /** The same where nothing of ours is installed. */
  readonly assertSame: (rows: number) => Effect.Effect<void, BenchError | TestSqlError>
  /** Both sides' `settle`. */
  readonly settle: Effect.Effect<void, TestSqlError>
}

export type Servers = Readonly<Record<Side, EmbeddedPostgres.EmbeddedPostgres>>

/** A server for each side, as they come but for what the yardstick needs: ours needs none of it. */
export const makeServers: Effect.Effect<Servers, EmbeddedPostgresError, Scope.Scope> = Effect.all(
  {
    replit: EmbeddedPostgres.make({ settings: { wal_level: "logical" } }),
    external: EmbeddedPostgres.make({ settings: { wal_level: "logical" } })
  },
  { concurrency: 2 }
)

/** Two new databases, each with an empty table `perfis`. They are dropped when the scope closes. */
export const make = (servers: Servers): Effect.Effect<BenchPair, TestSqlError, Scope.Scope> =>
  Effect.gen(function*() {
    const pair = yield* Effect.all({ replit: freshDatabase(servers.replit), external: freshDatabase(servers.external) })
    for (const side of sides) yield* pair[side].app.query(perfis("perfis"))
    return {
      ...pair,
      assertEqual: (rows) => assertEqual(pair, { rows, pending: 0 }, `${contents}, ${pending} from perfis t`),
      assertSame: (rows) => assertEqual(pair, { rows }, `${contents} from perfis t`),
      settle: Effect.zipRight(pair.replit.settle, pair.external.settle)
    }
  })

/** The table that the older system synced, as design.md measures it. */
export const perfis = (name: string): string => `
  create table ${name} (
    id uuid primary key default gen_random_uuid(),
    full_name varchar(255),
    name_user varchar(255),
    email varchar(255),
    tipo_conta varchar(100),
    avatar_url text,
    created_at timestamptz,
    updated_at timestamptz,
    id_usuario varchar(50)
  )`

/** The app inserts rows of about 330 bytes, in one statement. */
export const insert = (name: string, rows: number): string => `
  insert into ${name} (full_name, name_user, email, tipo_conta, avatar_url, created_at, updated_at, id_usuario)
  select 'Maria Aparecida de Souza ' || n, 'maria.souza.' || n, 'maria.souza.' || n || '@escola.example.com.br',
    (array['Professor', 'Aluno', 'Coordenador'])[n % 3 + 1],
    'https://cdn.example.com/avatars/' || md5(n::text) || md5((-n)::text) || md5('a' || n) || '/perfil-quadrado.png?v=' || n,
    now() - n * interval '1 second', now() - n * interval '1 second', 'usuario-' || n
  from generate_series(1, ${rows}) n`

/** Two new databases with nothing in them, by their owners' URLs. They are dropped when the scope closes. */
export const makeUrls = (servers: Servers) =>
  Effect.map(
    Effect.all({ replit: freshDatabase(servers.replit), external: freshDatabase(servers.external) }),
    ({ external, replit }) => ({ replit: replit.url, external: external.url })
  )

const freshDatabase = (server: EmbeddedPostgres.EmbeddedPostgres): Effect.Effect<
  BenchDatabase,
  TestSqlError,
  Scope.Scope
> =>
  Effect.gen(function*() {
    const name = `bench_${randomBytes(6).toString("hex")}`
    yield* query(server.url(), `create role ${name} login password '${name}'`)
    yield* query(server.url(), `create database ${name} owner ${name}`)
    yield* Effect.addFinalizer(() => Effect.orDie(query(server.url(), `drop database ${name} with (force)`)))
    const url = Redacted.make(
      Object.assign(new URL(Redacted.value(server.url(name))), { username: name, password: name }).href
    )
    return { name, url, app: yield* connect(url), settle: Effect.asVoid(query(server.url(), "checkpoint")) }
  })

const assertEqual = Effect.fnUntraced(
  function*(
    pair: Readonly<Record<Side, BenchDatabase>>,
    expected: { readonly rows: number; readonly pending?: number },
    sql: string
  ) {
    const [replit, external] = yield* Effect.forEach(sides, (side) => pair[side].app.query(sql))
    const wanted = JSON.stringify([{ ...replit?.[0], ...expected }])
    if (JSON.stringify(replit) === wanted && JSON.stringify(external) === wanted) return
    return yield* new BenchError({
      message: `${expected.rows} equal rows were expected, with nothing pending. Replit: ${JSON.stringify(replit)}, `
        + `external: ${JSON.stringify(external)}.`
    })
  }
)

const contents = "select count(*) as rows, coalesce(sum(hashtextextended(t::text, 0)), 0)::text as hash"
const pending = "(select count(*) from perfis_changelog where not synced) as pending"
