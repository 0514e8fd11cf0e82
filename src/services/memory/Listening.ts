/** The memory form's listeners, who are told of the app's changes. */
import { Effect, Queue } from "effect"
import { display } from "../../domain/TableName.ts"
import type { Listener, Listening } from "../Database.ts"
import type { Store } from "./Store.ts"
import { step } from "./Store.ts"

export const make = (store: Store): Listening => ({
  listen: Effect.gen(function*() {
    const { gate } = store
    const queue = yield* Queue.sliding<void>(1)
    const me = {}
    yield* Effect.acquireRelease(
      Effect.sync(() => gate.heard.add(queue)),
      () =>
        Effect.sync(() => {
          gate.heard.delete(queue)
          if (gate.keeper !== me) return
          gate.keeper = null
          gate.closed = false
        })
    )
    return {
      heard: Queue.take(queue),
      look: Effect.fn("MemoryDatabase.look")((names, { anyway } = { anyway: false }) =>
        step(store, () => {
          gate.keeper ??= me
          const isKeeper = gate.keeper === me
          if (isKeeper) gate.closed ||= gate.silent.size === 0
          const waiting = names.filter((name) => {
            const state = store.tables.get(display(name))
            return state?.pending.some(({ id }) => !state.quarantine.has(id)) ?? false
          })
          if (isKeeper && waiting.length > 0 && !anyway) gate.closed = false
          return { waiting, resting: !isKeeper || gate.closed }
        })
      )
    } satisfies Listener
  })
})
