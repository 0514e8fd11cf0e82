/**
 * What one simulated history happens in: two memory servers, a clock that sleeps by jumping ahead, and the ways by which
 * programs reach the servers.
 */
import { Clock, Context, Duration, Effect, Either, Layer, Random } from "effect"
import type { Brake } from "../../src/domain/brake.ts"
import { parseUrl } from "../../src/domain/ConnectionTarget.ts"
import type { Policy } from "../../src/domain/decide.ts"
import type { Side } from "../../src/domain/Side.ts"
import { sides } from "../../src/domain/Side.ts"
import type { TableName } from "../../src/domain/TableName.ts"
import { display } from "../../src/domain/TableName.ts"
import type { Database } from "../../src/services/Database.ts"
import { ExternalDb } from "../../src/services/ExternalDb.ts"
import type { MemoryTable, Row } from "../../src/services/memory/MemoryTable.ts"
import type { MemoryServer } from "../../src/services/MemoryDatabase.ts"
import * as MemoryDatabase from "../../src/services/MemoryDatabase.ts"
import { ReplitDb } from "../../src/services/ReplitDb.ts"
import { SyncConfig } from "../../src/services/SyncConfig.ts"
import * as FaultyDatabase from "../support/FaultyDatabase.ts"
import type { Chance, Fate } from "./Fate.ts"
import type { Mutation } from "./mutations.ts"
import { Pauses, type Seen } from "./Pauses.ts"
import { watching } from "./watching.ts"

export interface World {
  readonly fate: Fate
  readonly servers: Readonly<Record<Side, MemoryServer>>
  readonly clock: SimulatedClock
  /** Programs, run on new connections to both servers, or on ways with troubles of their own. */
  readonly run: <A, E>(
    program: Effect.Effect<A, E, Needs>,
    troubles?: FaultyDatabase.Faults
  ) => Effect.Effect<A, E>
  /** What a program that connects once reaches the servers by. */
  readonly connect: (troubles?: FaultyDatabase.Faults) => Context.Context<Needs>
  readonly databases: Readonly<Record<Side, Database>>
  /** Sides whose check on `perfis` refuses some of the names at the moment. */
  readonly refusing: Set<Side>
  readonly pauses: Pauses
  /** What happened, for people who look at a failed seed. */
  readonly story: Array<string>
  /** What was seen to go wrong on the way. */
  readonly wrong: Array<string>
}

export type Needs = ReplitDb | ExternalDb | SyncConfig

/** Sleeping moves time on at once; so does looking at it, by nothing or a little. */
export class SimulatedClock implements Clock.Clock {
  readonly [Clock.ClockTypeId]: Clock.ClockTypeId = Clock.ClockTypeId
  private us = 1_700_000_000_000_000n
  private readonly chance: Chance
  constructor(chance: Chance) {
    this.chance = chance
  }
  unsafeCurrentTimeMillis(): number {
    return Number(this.us / 1000n)
  }
  unsafeCurrentTimeNanos(): bigint {
    this.us += this.chance.pick(ticksUs)
    return this.us * 1000n
  }
  readonly currentTimeMillis = Effect.sync(() => this.unsafeCurrentTimeMillis())
  readonly currentTimeNanos = Effect.sync(() => this.unsafeCurrentTimeNanos())
  sleep(duration: Duration.Duration): Effect.Effect<void> {
    return Effect.zipRight(
      Effect.sync(() => {
        this.us += BigInt(Math.ceil(Duration.toMillis(duration) * 1000))
      }),
      Effect.yieldNow()
    )
  }
}

const ticksUs = [0n, 1n, 700n]

export const perfis: TableName = { schema: "public", name: "perfis" }
export const itens: TableName = { schema: "public", name: "itens" }
export const notas: TableName = { schema: "public", name: "notas" }
export const names: ReadonlyArray<TableName> = [itens, notas, perfis]

/** The column whose text tells every written version of a row from every other. */
export const tokenColumn: Readonly<Record<string, string>> = { perfis: "nome", itens: "texto", notas: "texto" }

/** Two empty servers; which rules and settings hold comes from the seed. */
export const make = Effect.fnUntraced(function*(seed: number, fate: Fate, mutation: Mutation | null) {
  const chance = fate.at("settings")
  const refusing = new Set<Side>()
  const cascades = chance.of(0.5)
  const start = (side: Side) => MemoryDatabase.make(side, { tables: tablesOf(cascades, () => refusing.has(side)) })
  const servers = yield* Effect.all({ replit: start("replit"), external: start("external") }).pipe(
    Effect.withRandom(Random.make(seed))
  )
  const policies: ReadonlyArray<Policy> = ["last-write-wins", "last-write-wins", "replit-wins", "external-wins"]
  const settings = {
    batchRowsMax: 1 + chance.below(6),
    retention: chance.pick(["0 millis", "7 days"] as const),
    touch: chance.of(0.7),
    // Whoever sleeps moves the clock on at once.
    cycleMax: Duration.infinity,
    // Pauses between cycles are longer than this: queues are folded now and then.
    abandonedAfter: chance.pick(["30 days", "1 second"] as const),
    brake: chance.pick<Brake>([null, { rows: 0, percent: 0 }, { rows: 1, percent: 20 }]),
    policies: { byTable: new Map(names.map((name) => [display(name), chance.pick(policies)])) }
  }
  const config = yield* Effect.scoped(Layer.build(SyncConfig.layer({
    replitUrl: target("replit"),
    externalUrl: target("external"),
    tables: names,
    ...settings
  })))
  const { policies: { byTable }, ...rest } = settings
  const story = [`settings ${JSON.stringify({ ...rest, cascades, policies: Object.fromEntries(byTable) })}`]
  const wrong: Array<string> = []
  const mutate = mutation?.(servers) ?? ((database: Database) => database)
  const way = (side: Side, troubles?: FaultyDatabase.Faults) => {
    const watched = watching(servers[side].connect(), settings.brake !== null, wrong)
    return mutate(troubles === undefined ? watched : FaultyDatabase.make(watched, troubles))
  }
  // A layer for each program would cost two thirds of an idle cycle.
  const connect = (troubles?: FaultyDatabase.Faults) =>
    config.pipe(
      Context.add(ReplitDb, way("replit", troubles)),
      Context.add(ExternalDb, way("external", troubles))
    )
  const clean = connect()
  const world: World = {
    fate,
    servers,
    clock: new SimulatedClock(fate.at("clock")),
    run: (program, troubles) => Effect.provide(program, troubles === undefined ? clean : connect(troubles)),
    connect,
    databases: { replit: servers.replit.database, external: servers.external.database },
    refusing,
    pauses: new Pauses(names, (side, table) => seenOf(servers[side], table, cascades), wrong),
    story,
    wrong
  }
  return world
})

/** All rows of a side, by table and key. */
export const rowsOf = ({ servers }: World, side: Side): ReadonlyMap<string, Row> =>
  new Map(
    names.flatMap((name) => servers[side].peek(name).map((row) => [rowName(name, keyOf(name, row)), row] as const))
  )

/** Where a parent's changed key takes children along, it does so on the other side too: their keys may change. */
const seenOf = (server: MemoryServer, table: TableName, cascades: boolean): Seen => ({
  rows: server.peek(table).map((row) => cascades && table === itens ? row["texto"] ?? "" : JSON.stringify(row)),
  pending: new Set(Effect.runSync(server.pending(table)).map(({ key }) => rowName(table, key)))
})

export type BothRows = Readonly<Record<Side, ReadonlyMap<string, Row>>>

export const allRows = (world: World): BothRows => ({
  replit: rowsOf(world, "replit"),
  external: rowsOf(world, "external")
})

/** Asks both sides, Replit first. */
export const fromBoth = <A, E>({ databases }: World, ask: (database: Database) => Effect.Effect<ReadonlyArray<A>, E>) =>
  Effect.map(Effect.forEach(sides, (side) => ask(databases[side])), (answers) => answers.flat())

export const rowName = (table: TableName, key: ReadonlyArray<string | null>): string => `${table.name} ${key.join(",")}`

export const keyOf = (table: TableName, row: Row): ReadonlyArray<string> =>
  keyColumns(table).map((column) => row[column]!)

export const keyColumns = (table: TableName): ReadonlyArray<string> =>
  table.name === itens.name ? ["perfil_id", "numero"] : ["id"]

const target = (side: Side) => Either.getOrThrow(parseUrl(side, `postgresql://user@${side}.example/app`))

const tablesOf = (cascades: boolean, isRefusing: () => boolean): ReadonlyArray<MemoryTable> => {
  const stamp = { name: "updated_at", type: "timestamp with time zone", default: "now()" }
  const follows = cascades ? { onUpdate: "cascade" as const } : {}
  return [
    {
      name: perfis,
      columns: [{ name: "id", type: "text" }, { name: "nome", type: "text" }, { name: "email", type: "text" }, stamp],
      key: ["id"],
      uniques: [{ name: "perfis_email", columns: ["email"] }],
      checks: [{ name: "perfis_nome", holds: ({ nome }) => !(isRefusing() && /[02468]$/.test(nome ?? "")) }]
    },
    {
      name: itens,
      columns: [
        { name: "perfil_id", type: "text" },
        { name: "numero", type: "integer" },
        { name: "texto", type: "text" },
        stamp
      ],
      key: ["perfil_id", "numero"],
      references: [{ name: "itens_perfil", columns: ["perfil_id"], table: perfis, onDelete: "cascade", ...follows }]
    },
    { name: notas, columns: [{ name: "id", type: "integer" }, { name: "texto", type: "text" }], key: ["id"] }
  ]
}
