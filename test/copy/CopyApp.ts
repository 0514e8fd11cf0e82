/** The app of one side, which goes on writing while a table is copied: it knows what must be there in the end, and how long it waited. */
import { Clock, Effect, type Redacted, type Scope } from "effect"
import { randomUUID } from "node:crypto"
import type { Side } from "../../src/domain/Side.ts"
import * as Dice from "../samples/Dice.ts"
import { connect, type TestSqlError } from "../support/TestClient.ts"

export interface CopyApp {
  readonly side: Side
  /** By key, the name that its row must have in the end; null where it must be gone. */
  readonly expected: ReadonlyMap<string, string | null>
  /** The longest that the update of one row took, milliseconds. */
  readonly slowestMs: () => number
  readonly counts: { readonly updated: number; readonly inserted: number; readonly deleted: number }
  /** Writes until it is interrupted, and ends with a statement that is through. */
  readonly write: Effect.Effect<never, TestSqlError>
}

export interface CopyAppOptions {
  readonly side: Side
  readonly url: Redacted.Redacted
  /** Keys that no other app writes. They may not be there yet. */
  readonly keys: ReadonlyArray<string>
  readonly seed: number
  readonly everyMs: number
}

export const make = (options: CopyAppOptions): Effect.Effect<CopyApp, TestSqlError, Scope.Scope> =>
  Effect.gen(function*() {
    const { everyMs, keys, seed, side } = options
    const client = yield* connect(options.url)
    const dice = Dice.make(seed, side)
    const expected = new Map<string, string | null>()
    const counts = { updated: 0, inserted: 0, deleted: 0 }
    let slowestMs = 0
    let number = 0

    const update = Effect.fnUntraced(function*(key: string, name: string) {
      const startedMs = yield* Clock.currentTimeMillis
      const found = yield* client.query(
        "update perfis set full_name = $2, updated_at = now() where id = $1 returning id",
        [key, name]
      )
      slowestMs = Math.max(slowestMs, (yield* Clock.currentTimeMillis) - startedMs)
      if (found.length === 0) return
      expected.set(key, name)
      counts.updated++
    })
    const insert = Effect.fnUntraced(function*(name: string) {
      const key = randomUUID()
      yield* client.query("insert into perfis (id, full_name, updated_at) values ($1, $2, now())", [key, name])
      expected.set(key, name)
      counts.inserted++
    })
    const remove = Effect.fnUntraced(function*(key: string) {
      const found = yield* client.query("delete from perfis where id = $1 returning id", [key])
      if (found.length === 0) return
      expected.set(key, null)
      counts.deleted++
    })
    const one = Effect.suspend(() => {
      const name = `${side} ${++number}`
      const roll = dice.whole(20)
      if (roll === 0) return insert(name)
      return roll === 1 ? remove(dice.pick(keys)) : update(dice.pick(keys), name)
    })
    return {
      side,
      expected,
      counts,
      slowestMs: () => slowestMs,
      write: Effect.forever(Effect.zipRight(Effect.uninterruptible(one), Effect.sleep(everyMs)))
    }
  })
