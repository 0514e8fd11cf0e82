/**
 * What the conformance suite runs on: two databases of one form, the same tables on both, and the app that writes to
 * each. `ddl` says the tables to a server and `tables` says the same to the memory form.
 */
import { Effect, type Scope } from "effect"
import { contract } from "../../src/domain/contract.ts"
import type { Side } from "../../src/domain/Side.ts"
import { opposite } from "../../src/domain/Side.ts"
import { decode, type StagedRow } from "../../src/domain/StagedRow.ts"
import type { SyncedTable } from "../../src/domain/SyncedTable.ts"
import type { TableName } from "../../src/domain/TableName.ts"
import { resolve } from "../../src/programs/resolve.ts"
import type { Applied, ApplyOptions, Claim, ClaimRequest, Database, Phase } from "../../src/services/Database.ts"
import type { App } from "../../src/services/memory/App.ts"
import type { MemoryTable } from "../../src/services/memory/MemoryTable.ts"

export interface Member {
  readonly database: Database
  /** A second service instance's way to the same database. */
  readonly second: Database
  readonly app: App
}

export type Pair = Readonly<Record<Side, Member>>

/** Two fresh databases with the tables below, empty, and nothing of ours installed. */
export type MakePair = Effect.Effect<Pair, unknown, Scope.Scope>

export const named = (name: string): TableName => ({ schema: "public", name })

/** The tables of both sides. */
const common = `
  create table perfis (
    id text primary key,
    nome text,
    email text constraint perfis_email unique,
    updated_at timestamptz default now()
  );
  create table itens (
    perfil_id text not null constraint itens_perfil references perfis on delete cascade on update cascade,
    numero integer not null,
    texto text,
    updated_at timestamptz default now(),
    primary key (perfil_id, numero)
  );
  create table visitas (id text primary key, texto text, updated_at timestamptz);
  create function visitas_antes() returns trigger language plpgsql as $$
    begin
      new.texto := upper(new.texto);
      new.updated_at := now();
      return new;
    end $$;
  create trigger visitas_antes before insert or update on visitas for each row execute function visitas_antes();
  create table pedidos (id serial primary key, texto text);
  create table saltos (id text primary key, n integer not null);
  create function saltos_depois() returns trigger language plpgsql as $$
    begin
      if pg_trigger_depth() = 1 then update saltos set n = n + 1 where id = new.id; end if;
      return null;
    end $$;
  create trigger saltos_depois after insert or update on saltos for each row execute function saltos_depois();
`

/**
 * What each side is to run on a server. On the external side `notas` takes less, `visitas` drops rows, and `avulsa` is
 * missing.
 */
export const ddl: Readonly<Record<Side, string>> = {
  replit: `${common}
    create table notas (id integer primary key, texto varchar(200));
    create table avulsa (a integer, b text, c text not null default 'x', primary key (b, a));`,
  external: `${common}
    create table notas (id integer primary key, texto varchar(20) constraint notas_texto check (texto <> 'proibido'));
    create function visitas_some() returns trigger language plpgsql as $$
      begin return case when new.texto = 'SOME' then null else new end; end $$;
    create trigger visitas_some before insert or update on visitas for each row execute function visitas_some();`
}

const stamp = { name: "updated_at", type: "timestamp with time zone", default: "now()" } as const

const perfis: MemoryTable = {
  name: named("perfis"),
  columns: [{ name: "id", type: "text" }, { name: "nome", type: "text" }, { name: "email", type: "text" }, stamp],
  key: ["id"],
  uniques: [{ name: "perfis_email", columns: ["email"] }]
}

const itens: MemoryTable = {
  name: named("itens"),
  columns: [
    { name: "perfil_id", type: "text" },
    { name: "numero", type: "integer" },
    { name: "texto", type: "text" },
    stamp
  ],
  key: ["perfil_id", "numero"],
  references: [
    { name: "itens_perfil", columns: ["perfil_id"], table: named("perfis"), onDelete: "cascade", onUpdate: "cascade" }
  ]
}

const notas = (characters: number): MemoryTable => ({
  name: named("notas"),
  columns: [{ name: "id", type: "integer" }, { name: "texto", type: `character varying(${characters})` }],
  key: ["id"]
})

const visitas: MemoryTable = {
  name: named("visitas"),
  columns: [{ name: "id", type: "text" }, { name: "texto", type: "text" }, { name: "updated_at", type: stamp.type }],
  key: ["id"],
  before: [{
    name: "visitas_antes",
    run: ({ new: row, now, old }) =>
      row === null ? old : { ...row, texto: row["texto"]?.toUpperCase() ?? null, updated_at: now }
  }]
}

const saltos: MemoryTable = {
  name: named("saltos"),
  columns: [{ name: "id", type: "text" }, { name: "n", type: "integer", notNull: true }],
  key: ["id"],
  after: [{
    name: "saltos_depois",
    run: ({ depth, new: row }, { update }) => {
      if (depth > 1 || row === null) return
      update(named("saltos"), [row["id"]!], { n: `${Number(row["n"]) + 1}` })
    }
  }]
}

const pedidos: MemoryTable = {
  name: named("pedidos"),
  columns: [{ name: "id", type: "integer", sequence: true }, { name: "texto", type: "text" }],
  key: ["id"]
}

const avulsa: MemoryTable = {
  name: named("avulsa"),
  columns: [
    { name: "a", type: "integer" },
    { name: "b", type: "text" },
    { name: "c", type: "text", notNull: true, default: "x" }
  ],
  key: ["b", "a"]
}

/** The same for the memory form. */
export const tables: Readonly<Record<Side, ReadonlyArray<MemoryTable>>> = {
  replit: [perfis, itens, notas(200), visitas, saltos, pedidos, avulsa],
  external: [
    perfis,
    itens,
    { ...notas(20), checks: [{ name: "notas_texto", holds: ({ texto }) => texto !== "proibido" }] },
    {
      ...visitas,
      before: [...visitas.before!, {
        name: "visitas_some",
        run: ({ new: row, old }) => row === null ? old : row["texto"] === "SOME" ? null : row
      }]
    },
    saltos,
    pedidos
  ]
}

/** A pair that is set up: paired, and every table of `tables` captured on both sides. */
export interface Ready extends Pair {
  readonly perfis: SyncedTable
  readonly itens: SyncedTable
  readonly notas: SyncedTable
  readonly visitas: SyncedTable
  readonly saltos: SyncedTable
  readonly pedidos: SyncedTable
}

/** The verbs of a set-up, without its program. */
export const setUp = (makePair: MakePair) =>
  Effect.gen(function*() {
    const pair = yield* makePair
    for (const side of ["replit", "external"] as const) {
      const { database } = pair[side]
      yield* database.install
      yield* database.identify({ side, id: idOf[side], peer: idOf[opposite(side)], confirmed: true })
    }
    const names = ["perfis", "itens", "notas", "visitas", "saltos", "pedidos"] as const
    const [perfis, itens, notas, visitas, saltos, pedidos] = yield* inspectedAll(pair, names.map(named))
    const tables = {
      perfis: perfis!,
      itens: itens!,
      notas: notas!,
      visitas: visitas!,
      saltos: saltos!,
      pedidos: pedidos!
    }
    for (const table of Object.values(tables)) {
      for (const { database } of [pair.replit, pair.external]) yield* database.capture(table, { touch: true })
    }
    return { ...pair, ...tables } satisfies Ready
  })

/** The contract of a table that is on both sides. */
export const inspected = (pair: Pair, name: TableName) => Effect.map(inspectedAll(pair, [name]), ([table]) => table!)

const inspectedAll = Effect.fnUntraced(function*(pair: Pair, names: ReadonlyArray<TableName>) {
  const found = {
    replit: yield* pair.replit.database.inspect(names),
    external: yield* pair.external.database.inspect(names)
  }
  return yield* Effect.forEach(names, (_, index) => {
    const [replit, external] = [found.replit[index], found.external[index]]
    if (replit?._tag !== "Table" || external?._tag !== "Table") return Effect.dieMessage("The tables are missing.")
    const rules = { policy: "last-write-wins", stamp: "updated_at", stampNamed: false } as const
    const fitting = contract({ replit: replit.shape, external: external.shape }, rules)
    return fitting._tag === "Fits" ? Effect.succeed(fitting.table) : Effect.dieMessage(fitting.problem)
  })
})

/** Opens a claim, applies it, and acknowledges it unless told not to: one batch, and null when there is none. */
export const move = (
  from: Member,
  to: Member,
  table: SyncedTable,
  phase: Phase,
  options: Partial<ApplyOptions> & { readonly acknowledge?: boolean; readonly request?: ClaimRequest } = {}
) =>
  Effect.scoped(Effect.gen(function*() {
    const { acknowledge, judge, locks, request, seeds } = {
      acknowledge: true,
      judge: resolve(table, from.database.side),
      locks: "wait" as const,
      request: next(phase),
      seeds: [],
      ...options
    }
    const claim: Claim | null = yield* from.database.claim(table, request)
    if (claim === null) return null
    const applied: Applied = yield* to.database.apply(table, claim, { judge, locks, seeds })
    if (acknowledge) yield* claim.acknowledge(applied.kept)
    return applied
  }))

export const next = (phase: Phase): ClaimRequest => ({ _tag: "Next", phase, after: null, rows: 1000 })

/** Moves what is pending, both phases and both ways, until nothing is: for tests that only care about what comes after. */
export const settleAll = Effect.fnUntraced(function*(ready: Ready) {
  const all = [ready.perfis, ready.itens, ready.notas, ready.visitas]
  for (const phase of ["upserts", "deletes"] as const) {
    for (const table of phase === "upserts" ? all : all.toReversed()) {
      yield* move(ready.replit, ready.external, table, phase)
      yield* move(ready.external, ready.replit, table, phase)
    }
  }
})

/** The rows of a claim that is given up again. */
export const read = (member: Member, table: SyncedTable, request: ClaimRequest) =>
  Effect.scoped(Effect.flatMap(
    member.database.claim(table, request),
    (claim) => claim === null ? Effect.succeed([]) : rowsOf(table, claim)
  ))

/** The rows of an open claim. */
export const rowsOf = (table: SyncedTable, claim: Claim) => decode(table)(claim.stream)

/** Keys that wait on a side outside quarantine, in claim order, joined by commas; the deleted ones with a minus. */
export const waiting = (member: Member, table: SyncedTable) =>
  Effect.map(
    Effect.all([read(member, table, next("upserts")), read(member, table, next("deletes"))]),
    (phases) => phases.flat().map((row) => `${row.present ? "" : "-"}${keyIn(table, row).join(",")}`)
  )

export const keyIn = (table: SyncedTable, row: StagedRow): ReadonlyArray<string | null> =>
  table.key.map((name) => row.values[table.columns.indexOf(name)] ?? null)

const idOf: Readonly<Record<Side, string>> = {
  replit: "00000000-0000-4000-8000-000000000001",
  external: "00000000-0000-4000-8000-000000000002"
}
