/** The apps on both sides: they insert, update, delete, change keys and truncate, alone and in longer transactions. */
import { Effect } from "effect"
import type { Side } from "../../src/domain/Side.ts"
import { opposite, sides } from "../../src/domain/Side.ts"
import type { AppRefused, AppStatements, AppTransaction } from "../../src/services/memory/App.ts"
import type { Row } from "../../src/services/memory/MemoryTable.ts"
import type { Chance, Kind } from "./Fate.ts"
import type { History } from "./History.ts"
import type { World } from "./World.ts"
import { itens, keyColumns, names, notas, perfis, rowsOf, tokenColumn } from "./World.ts"

export interface Clients {
  /** Does one thing on one side, or the same on both; which, says the chance of the point. */
  readonly act: (point: string) => Effect.Effect<void>
  /** Writes to a row that waits to be synced, as whoever wins a race against a cycle does. */
  readonly race: (point: string) => Effect.Effect<void>
  /** Inserts what is there before anything is synced. */
  readonly fill: Effect.Effect<void>
  /** Ends every open transaction. */
  readonly finish: (point: string) => Effect.Effect<void>
  /** The server ended them. */
  readonly forget: (side: Side) => void
  /** Runs something that writes to one side as an app does, and notes what it did; it says how it went. */
  readonly noting: (side: Side, said: string, action: Effect.Effect<string>) => Effect.Effect<void>
}

export const make = (world: World, history: History): Clients => {
  const { fate, pauses, refusing, servers, story } = world
  const open: Partial<Record<Side, AppTransaction>> = {}

  const noting = (side: Side, said: string, action: Effect.Effect<string>) =>
    Effect.suspend(() => {
      const before = rowsOf(world, side)
      pauses.look()
      return Effect.map(action, (refused) => {
        pauses.look(side)
        story.push(`  ${side}: ${said}${refused}`)
        history.wrote(side, before, rowsOf(world, side))
        return refused === ""
      })
    })

  const writing = (side: Side, said: string, action: Effect.Effect<void, AppRefused>) =>
    noting(side, said, Effect.match(action, { onSuccess: () => "", onFailure: ({ sqlState }) => ` (${sqlState})` }))

  const statement = (side: Side, point: string, chance: Chance) =>
    Effect.suspend(() => {
      if (!fate.let(kindOf(side), point)) return Effect.void
      const transaction = open[side]
      const { removes = [], run, said } = randomStatement(chance, point)
      history.removes(side, transaction === undefined ? [] : removes)
      if (transaction === undefined) return writing(side, said, run(servers[side].app))
      return Effect.map(writing(side, `in a transaction, ${said}`, run(transaction)), (taken) => {
        // A refused statement ends its transaction.
        if (!taken) delete open[side]
      })
    })

  const end = (side: Side, transaction: AppTransaction, chance: Chance) => {
    delete open[side]
    return chance.of(0.8)
      ? writing(side, "commits", transaction.commit)
      : writing(side, "rolls back", transaction.rollback)
  }

  const begin = (side: Side, point: string, chance: Chance) =>
    Effect.gen(function*() {
      if (!fate.let(kindOf(side), `${point} begin`)) return
      story.push(`  ${side}: begins`)
      open[side] = yield* servers[side].app.begin
      for (let count = 1 + chance.below(3); count > 0; count--) {
        yield* statement(side, `${point}.${count}`, fate.at(`${point}.${count}`))
      }
    })

  /** Both sides write the very same row, or one that differs in nothing but its text: a tie. */
  const both = (point: string, chance: Chance) => {
    const isTie = chance.of(0.6)
    return Effect.forEach(sides.filter((side) => fate.let(kindOf(side), `${point} ${side}`)), (side) => {
      const { run, said } = randomStatement(fate.at(`${point} both`), isTie ? `${point}${side[0]}` : point, true)
      return writing(side, said, run(servers[side].app))
    })
  }

  const jump = (side: Side, point: string, chance: Chance) => {
    const ms = chance.pick([0, 0, 1, -1000, 60_000, -3_600_000])
    if (!fate.let("clock", point)) return Effect.void
    story.push(`  ${side}: its clock is off by ${ms} ms`)
    return servers[side].setClockOffset(ms)
  }

  /** From now on a side refuses some names, or takes them again: what was refused must pass then. */
  const turn = (side: Side, point: string) => {
    if (!fate.let("cause", point)) return Effect.void
    const refuses = !refusing.delete(side)
    if (refuses) refusing.add(side)
    story.push(`  ${side}: ${refuses ? "refuses names with an even digit at their end" : "takes all names again"}`)
    return Effect.void
  }

  return {
    noting: (side, said, action) => Effect.asVoid(noting(side, said, action)),
    forget: (side) => {
      delete open[side]
    },
    act: (point) =>
      Effect.suspend((): Effect.Effect<unknown> => {
        const chance = fate.at(point)
        const side = chance.pick(sides)
        const transaction = open[side]
        const what = chance.below(100)
        if (transaction !== undefined && what < 40) {
          return fate.let(kindOf(side), `${point} end`) ? end(side, transaction, chance) : Effect.void
        }
        if (transaction === undefined && what < 15) return begin(side, point, chance)
        if (what >= 95) return jump(side, point, chance)
        if (what >= 89 && open[opposite(side)] === undefined && transaction === undefined) return both(point, chance)
        if (what >= 87) return turn(side, point)
        return statement(side, point, chance)
      }).pipe(Effect.asVoid),
    race: (point) =>
      Effect.gen(function*() {
        const chance = fate.at(point)
        const side = chance.pick(sides)
        const table = chance.pick(names)
        const waiting = yield* servers[side].pending(table)
        if (waiting.length === 0 || !fate.let(kindOf(side), point)) return
        const { key } = chance.pick(waiting)
        const run = (open[side] ?? servers[side].app).update(table, key, { [tokenColumn[table.name]!]: point })
        const isTaken = yield* writing(side, `update ${table.name} ${key.join()} to ${point}`, run)
        if (!isTaken) delete open[side]
      }),
    fill: Effect.suspend(() => {
      const count = fate.at("fill").below(10)
      return Effect.forEach(Array.from({ length: count }, (_, index) => `fill.${index}`), (point) => {
        const chance = fate.at(point)
        const side = chance.pick(sides)
        const { run, said } = randomInsert(chance, point, chance.of(0.3))
        const on = (chance.of(0.3) ? sides : [side]).filter((each) => fate.let(kindOf(each), `${point} ${each}`))
        return Effect.forEach(on, (each) => writing(each, said, run(servers[each].app)))
      }, { discard: true })
    }),
    finish: (point) =>
      Effect.forEach(sides, (side) => {
        const transaction = open[side]
        return transaction === undefined ? Effect.void : end(side, transaction, fate.at(`${point} ${side}`))
      }, { discard: true })
  }
}

const kindOf = (side: Side): Kind => `app on ${side}`

interface Statement {
  readonly said: string
  readonly run: (on: AppStatements) => Effect.Effect<void, AppRefused>
  /** How the names of rows begin that it may delete. */
  readonly removes?: ReadonlyArray<string>
}

/** Few keys and fewer addresses, so that everything gets into everything's way. The token tells what was written where. */
const randomStatement = (chance: Chance, token: string, stamped = chance.of(0.1)): Statement => {
  const [table, key, other] = randomKeys(chance)
  const what = chance.below(100)
  if (what < 35) return randomInsert(chance, token, stamped)
  if (what < 70) {
    const changes = randomValues(chance, table, token, stamped)
    return {
      said: `update ${table.name} ${key.join()} ${JSON.stringify(changes)}`,
      run: (on) => on.update(table, key, changes)
    }
  }
  const removes = [`${table.name} ${key.join()}`, ...(table === perfis ? [`${itens.name} ${key.join()},`] : [])]
  if (what < 85) return { said: `delete ${table.name} ${key.join()}`, run: (on) => on.remove(table, key), removes }
  if (what < 98) {
    return {
      said: `change key ${table.name} ${key.join()} to ${other.join()}`,
      run: (on) => on.changeKey(table, key, other),
      removes
    }
  }
  return { said: "truncate notas", run: (on) => on.truncate(notas), removes: [`${notas.name} `] }
}

const randomInsert = (chance: Chance, token: string, stamped: boolean): Statement => {
  const [table, key] = randomKeys(chance)
  const row: Row = {
    ...Object.fromEntries(keyColumns(table).map((column, index) => [column, key[index]!])),
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
