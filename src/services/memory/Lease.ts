/** The memory form's lease, and the epoch by which a holder that lost it without knowing is refused. */
import { Effect, Exit } from "effect"
import type { SyncError } from "../../domain/SyncError.ts"
import { LeaseTaken } from "../../domain/SyncError.ts"
import type { Changelog, Database, Lease } from "../Database.ts"
import type { Store } from "./Store.ts"
import * as MemoryStore from "./Store.ts"

/** One service instance's way to a store. */
export interface Connection {
  readonly store: Store
  /** Name of the process, as it last gave it to `ask`. */
  holder: string
  /** What is checked when this instance commits; null is nothing. */
  epoch: bigint | null
  /** The epoch at which it gave the lease back, when all was well. */
  left: bigint | null
  isSettled: boolean
}

export const connect = (store: Store): Connection => ({
  store,
  holder: "",
  epoch: null,
  left: null,
  isSettled: false
})

export const make = (connection: Connection): Pick<Changelog, "lease" | "fence"> => {
  const { store } = connection
  const raise = (beyond: bigint) =>
    MemoryStore.step(store, (nowUs) => {
      if (store.lease !== connection) throw lost
      if (store.identity === null) return null
      store.epoch = beyond > store.epoch ? beyond + 1n : store.epoch + 1n
      store.holder = { name: connection.holder, sinceUs: nowUs }
      return store.epoch
    })
  return {
    lease: Effect.gen(function*() {
      const release = (well: boolean) =>
        Effect.sync(() => {
          if (store.lease !== connection) return
          store.lease = null
          if (connection.isSettled && well) connection.left = store.epoch
        })
      const taken = yield* Effect.acquireRelease(
        Effect.sync(() => {
          if (store.lease !== null) return false
          store.lease = connection
          return true
        }),
        (taken, exit) => taken ? release(Exit.isSuccess(exit)) : Effect.void
      )
      if (!taken) return null
      const before = connection.left
      connection.left = null
      connection.isSettled = false
      const isNew = store.identity !== null && store.epoch !== before
      const epoch = isNew ? yield* raise(0n) : store.identity === null ? null : store.epoch
      const id = store.identity?.id ?? null
      return { epoch, id, isNew, raise, lost: Effect.never, release: release(true) } satisfies Lease
    }),
    fence: (fence) =>
      MemoryStore.step(store, (nowUs) => {
        const isOurs = fence !== null && store.identity !== null
          && (store.side === "replit" || store.identity.peer === fence.id)
        if (isOurs && fence.isNew && fence.epoch >= store.epoch) {
          store.epoch = fence.epoch
          store.holder = { name: connection.holder, sinceUs: nowUs }
        }
        connection.isSettled = fence !== null
        connection.epoch = !isOurs ? null : fence.isNew ? store.epoch : fence.epoch
        return connection.epoch
      })
  }
}

/** A step that commits, like `Store.step`. */
export const step = <A>({ epoch, store }: Connection, run: (nowUs: bigint) => A) =>
  MemoryStore.step(store, (nowUs) => {
    if (epoch !== null && store.installed && store.epoch !== epoch) throw lost
    return run(nowUs)
  })

const lost = new LeaseTaken({ message: "Another copy of vaivem took over while this one was at work." })

/** The verbs that write under the lease and know nothing of it. */
export const fenced = (connection: Connection, database: Database): Database => {
  const checked = <A>(verb: Effect.Effect<A, SyncError>) =>
    Effect.zipRight(Effect.suspend(() => step(connection, () => {})), verb)
  return {
    ...database,
    capture: (...args) => checked(database.capture(...args)),
    remember: (...args) => checked(database.remember(...args)),
    uncapture: (...args) => checked(database.uncapture(...args)),
    uninstall: checked(database.uninstall),
    compare: (...args) => checked(database.compare(...args)),
    removeOnlyHere: (...args) => checked(database.removeOnlyHere(...args)),
    restore: (...args) => checked(database.restore(...args)),
    mark: (...args) => checked(database.mark(...args)),
    discard: (...args) => checked(database.discard(...args)),
    quarantine: (...args) => checked(database.quarantine(...args)),
    retryQuarantined: (...args) => checked(database.retryQuarantined(...args)),
    holdTable: (...args) => checked(database.holdTable(...args)),
    releaseTable: (...args) => checked(database.releaseTable(...args)),
    giveUp: (...args) => checked(database.giveUp(...args)),
    noteProof: (...args) => checked(database.noteProof(...args)),
    splitSequence: (...args) => checked(database.splitSequence(...args))
  }
}
