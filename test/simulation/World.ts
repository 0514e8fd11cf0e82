/**
 * What one simulated history happens in: two memory servers, a clock that sleeps by jumping ahead, and chance that comes
 * from the seed alone.
 */
import { Clock, Duration, Effect, Either, Layer, Random, Utils } from "effect"
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

export interface World {
  readonly servers: Readonly<Record<Side, MemoryServer>>
  readonly chance: Chance
  readonly clock: SimulatedClock
  readonly config: Layer.Layer<SyncConfig>
  /** What happened, for people who look at a failed seed. */
  readonly story: Array<string>
}

/** Chance from the seed, without effects. */
export interface Chance {
  readonly below: (limit: number) => number
  readonly of: (probability: number) => boolean
  readonly pick: <A>(from: ReadonlyArray<A>) => A
}

export const chanceOf = (seed: number): Chance => {
  const random = new Utils.PCGRandom(seed)
  return {
    below: (limit) => random.integer(limit),
    of: (probability) => random.number() < probability,
    pick: (from) => from[random.integer(from.length)]!
  }
}

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
    this.us += BigInt(this.chance.pick([0, 1, 700]))
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

export const perfis: TableName = { schema: "public", name: "perfis" }
export const itens: TableName = { schema: "public", name: "itens" }
export const notas: TableName = { schema: "public", name: "notas" }
export const names: ReadonlyArray<TableName> = [itens, notas, perfis]

/** The column whose text tells every written version of a row from every other. */
export const tokenColumn: Readonly<Record<string, string>> = { perfis: "nome", itens: "texto", notas: "texto" }

/** Two empty servers; which rules and settings hold comes from the seed. */
export const make = Effect.fn("World.make")(function*(seed: number) {
  const chance = chanceOf(seed)
  const clock = new SimulatedClock(chance)
  const tables = tablesOf(chance)
  const start = (side: Side) => MemoryDatabase.make(side, { tables })
  const servers = yield* Effect.all({ replit: start("replit"), external: start("external") }).pipe(
    Effect.withRandom(Random.make(seed))
  )
  const policies: ReadonlyArray<Policy> = ["last-write-wins", "last-write-wins", "replit-wins", "external-wins"]
  const settings = {
    batchRowsMax: 1 + chance.below(6),
    retention: chance.pick(["0 millis", "7 days"] as const),
    touch: chance.of(0.7),
    // Pauses between cycles are longer than this: queues are folded now and then.
    abandonedAfter: chance.pick(["30 days", "1 second"] as const),
    brake: chance.pick<Brake>([null, { rows: 0, percent: 0 }, { rows: 1, percent: 20 }]),
    policies: { byTable: new Map(names.map((name) => [display(name), chance.pick(policies)])) }
  }
  const config = SyncConfig.layer({
    replitUrl: target("replit"),
    externalUrl: target("external"),
    tables: names,
    ...settings
  })
  const { policies: { byTable }, ...rest } = settings
  const story = [`settings ${JSON.stringify({ ...rest, policies: Object.fromEntries(byTable) })}`]
  const world: World = { servers, chance, clock, config, story }
  return world
})

export type Needs = ReplitDb | ExternalDb | SyncConfig

/** What programs need, on these ways to the servers. */
export const layerOf = (world: World, databases: Readonly<Record<Side, Database>>) =>
  Layer.mergeAll(
    world.config,
    Layer.succeed(ReplitDb, databases.replit),
    Layer.succeed(ExternalDb, databases.external)
  )

/** All rows of a side, by table and key. */
export const rowsOf = (world: World, side: Side) =>
  Effect.map(
    Effect.all(names.map((name) => world.servers[side].app.rows(name))),
    (tables) =>
      new Map(tables.flatMap((rows, index) =>
        rows.map((row) => [rowName(names[index]!, keyOf(names[index]!, row)), row] as const)
      ))
  )

export type BothRows = Readonly<Record<Side, ReadonlyMap<string, Row>>>

/** Both sides' rows. */
export const allRows = (world: World): Effect.Effect<BothRows> =>
  Effect.map(
    Effect.all(sides.map((side) => rowsOf(world, side))),
    ([replit, external]) => ({ replit: replit!, external: external! })
  )

export const rowName = (table: TableName, key: ReadonlyArray<string | null>): string => `${table.name} ${key.join(",")}`

export const keyOf = (table: TableName, row: Row): ReadonlyArray<string> =>
  (table === itens ? ["perfil_id", "numero"] : ["id"]).map((column) => row[column]!)

const target = (side: Side) => Either.getOrThrow(parseUrl(side, `postgresql://user@${side}.example/app`))

const tablesOf = (chance: Chance): ReadonlyArray<MemoryTable> => {
  const stamp = { name: "updated_at", type: "timestamp with time zone", default: "now()" }
  const follows = chance.of(0.5) ? { onUpdate: "cascade" as const } : {}
  return [
    {
      name: perfis,
      columns: [{ name: "id", type: "text" }, { name: "nome", type: "text" }, { name: "email", type: "text" }, stamp],
      key: ["id"],
      uniques: [{ name: "perfis_email", columns: ["email"] }]
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
