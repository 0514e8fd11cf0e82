/** The apps on both sides: they insert, update, delete, change keys and truncate, alone and in longer transactions. */
import { Effect } from "effect"
import type { Side } from "../../src/domain/Side.ts"
import { opposite, sides } from "../../src/domain/Side.ts"
import type { AppRefused, AppStatements, AppTransaction } from "../../src/services/memory/App.ts"
import type { Row } from "../../src/services/memory/MemoryTable.ts"
import type { History } from "./History.ts"
import type { Chance, World } from "./World.ts"
import { itens, notas, perfis, rowsOf } from "./World.ts"

export interface Clients {
  /** Does one thing on one side, or the same on both. */
  readonly act: Effect.Effect<void>
  /** Inserts what is there before anything is synced. */
  readonly fill: Effect.Effect<void>
  /** Ends every open transaction. */
  readonly finish: Effect.Effect<void>
  /** Runs something that writes to one side as an app does, and notes what it did; it says how it went. */
  readonly noting: (side: Side, said: string, action: Effect.Effect<string>) => Effect.Effect<void>
}

export const make = (world: World, history: History): Clients => {
  const { chance, servers, story } = world
  const open: Partial<Record<Side, AppTransaction>> = {}
  let written = 0

  const noting = Effect.fnUntraced(function*(side: Side, said: string, action: Effect.Effect<string>) {
    const before = yield* rowsOf(world, side)
    const refused = yield* action
    story.push(`  ${side}: ${said}${refused}`)
    history.wrote(side, before, yield* rowsOf(world, side))
    return refused === ""
  })

  const writing = (side: Side, said: string, action: Effect.Effect<void, AppRefused>) =>
    noting(side, said, action.pipe(Effect.as(""), Effect.catchAll(({ sqlState }) => Effect.succeed(` (${sqlState})`))))

  const statement = (side: Side) =>
    Effect.suspend(() => {
      const transaction = open[side]
      const { run, said } = randomStatement(chance, () => `v${++written}`)
      if (transaction === undefined) return writing(side, said, run(servers[side].app))
      return Effect.map(writing(side, `in a transaction, ${said}`, run(transaction)), (taken) => {
        // A refused statement ends its transaction.
        if (!taken) delete open[side]
        return taken
      })
    })

  const end = (side: Side, transaction: AppTransaction) => {
    delete open[side]
    return chance.of(0.8)
      ? writing(side, "commits", transaction.commit)
      : writing(side, "rolls back", transaction.rollback)
  }

  const begin = (side: Side) =>
    Effect.gen(function*() {
      story.push(`  ${side}: begins`)
      open[side] = yield* servers[side].app.begin
      for (let count = 1 + chance.below(3); count > 0; count--) yield* statement(side)
    })

  /** Both sides write the very same row, stamp included. */
  const both = Effect.suspend(() => {
    const { run, said } = randomStatement(chance, () => `v${++written}`, true)
    return Effect.forEach(sides, (side) => writing(side, said, run(servers[side].app)))
  })

  const jump = (side: Side) => {
    const ms = chance.pick([0, 0, 1, -1000, 60_000, -3_600_000])
    story.push(`  ${side}: its clock is off by ${ms} ms`)
    return servers[side].setClockOffset(ms)
  }

  const act = Effect.suspend((): Effect.Effect<unknown> => {
    const side = chance.pick(sides)
    const transaction = open[side]
    if (transaction !== undefined && chance.of(0.4)) return end(side, transaction)
    if (transaction === undefined && chance.of(0.15)) return begin(side)
    if (chance.of(0.05)) return jump(side)
    if (chance.of(0.05) && open[opposite(side)] === undefined) return both
    return statement(side)
  })

  return {
    noting: (side, said, action) => Effect.asVoid(noting(side, said, action)),
    act: Effect.asVoid(act),
    fill: Effect.suspend(() =>
      Effect.forEach(
        Array.from({ length: chance.below(12) }, () => chance.pick(sides)),
        (side) => {
          const { run, said } = randomInsert(chance, `v${++written}`, chance.of(0.3))
          const on = chance.of(0.3) ? sides : [side]
          return Effect.forEach(on, (each) => writing(each, said, run(servers[each].app)))
        },
        { discard: true }
      )
    ),
    finish: Effect.suspend(() =>
      Effect.forEach(sides, (side) => open[side] === undefined ? Effect.void : end(side, open[side]), { discard: true })
    )
  }
}

interface Statement {
  readonly said: string
  readonly run: (on: AppStatements) => Effect.Effect<void, AppRefused>
}

/** Few keys and fewer addresses, so that everything gets into everything's way. */
const randomStatement = (chance: Chance, token: () => string, stamped = chance.of(0.1)): Statement => {
  const [table, key, other] = randomKeys(chance)
  const what = chance.below(100)
  if (what < 35) return randomInsert(chance, token(), stamped)
  if (what < 70) {
    const changes = randomValues(chance, table, token(), stamped)
    return {
      said: `update ${table.name} ${key.join()} ${JSON.stringify(changes)}`,
      run: (on) => on.update(table, key, changes)
    }
  }
  if (what < 85) return { said: `delete ${table.name} ${key.join()}`, run: (on) => on.remove(table, key) }
  if (what < 98) {
    return {
      said: `change key ${table.name} ${key.join()} to ${other.join()}`,
      run: (on) => on.changeKey(table, key, other)
    }
  }
  return { said: "truncate notas", run: (on) => on.truncate(notas) }
}

const randomInsert = (chance: Chance, token: string, stamped: boolean): Statement => {
  const [table, key] = randomKeys(chance)
  const columns = table === itens ? ["perfil_id", "numero"] : ["id"]
  const row: Row = {
    ...Object.fromEntries(columns.map((column, index) => [column, key[index]!])),
    ...randomValues(chance, table, token, stamped)
  }
  return { said: `insert ${table.name} ${JSON.stringify(row)}`, run: (on) => on.insert(table, row) }
}

const randomValues = (chance: Chance, table: typeof perfis, token: string, stamped: boolean): Row => {
  const stamp = chance.pick([null, "-infinity", "2023-11-14 22:13:20+00", "2023-11-14 22:13:20.000001+00", "infinity"])
  return {
    ...(table === perfis ? { nome: token } : { texto: token }),
    ...(table === perfis && chance.of(0.3) ? { email: chance.pick([null, "x@y", "z@y"]) } : {}),
    ...(table !== notas && stamped ? { updated_at: stamp } : {})
  }
}

const randomKeys = (chance: Chance): readonly [typeof perfis, ReadonlyArray<string>, ReadonlyArray<string>] => {
  const table = chance.pick([perfis, perfis, itens, itens, notas])
  const one = (): ReadonlyArray<string> => {
    if (table === perfis) return [chance.pick(["a", "b", "c", "d"])]
    if (table === notas) return [`${chance.below(4)}`]
    return [chance.pick(["a", "b", "c", "d"]), `${chance.below(2)}`]
  }
  return [table, one(), one()]
}
