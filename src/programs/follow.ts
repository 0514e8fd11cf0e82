/**
 * What a cycle does in live mode when it is through with what it found: as long as it has the lease, it goes on moving what
 * is announced. It asks nothing else meanwhile, so it lasts five seconds at most: then the next cycle asks everything again.
 */
import { Clock, Effect, Option, Ref } from "effect"
import { display, type TableName } from "../domain/TableName.ts"
import type { Tally, Work } from "./pass.ts"
import { pass } from "./pass.ts"
import { type Looked, pauseMaxMs, pauseMinMs, type Wakes } from "./wakes.ts"

/** @param later the tables that may go on, and how much of them the brake still lets through. */
export const follow = Effect.fn("follow")(function*(
  wakes: Wakes,
  later: ReadonlyArray<Work>,
  tally: Ref.Ref<Tally>,
  options: { readonly batchRowsMax: number }
) {
  const untilMs = (yield* Clock.currentTimeMillis) + lastsMs
  let pauseMs = pauseMinMs
  let anyway = false
  while (true) {
    const leftMs = untilMs - (yield* Clock.currentTimeMillis)
    if (leftMs <= 0) return
    const paused = new Set((yield* Ref.get(tally)).paused.map(({ table }) => table))
    const free = later.filter(({ table }) => !paused.has(display(table.name)))
    const { resting, waiting }: Looked = yield* wakes.look(free.map(({ table }) => table.name), { anyway })
    const work = free.flatMap((one): ReadonlyArray<Work> => {
      const pending = { replit: has(waiting.replit, one), external: has(waiting.external, one) }
      return pending.replit || pending.external ? [{ ...one, pending }] : []
    })
    const before = movedOf(yield* Ref.get(tally))
    if (work.length > 0) yield* pass(work, tally, options)
    const isMoving = movedOf(yield* Ref.get(tally)) > before
    if (isMoving) pauseMs = pauseMinMs
    else if (!resting) {
      yield* Effect.sleep(pauseMs)
      pauseMs = Math.min(2 * pauseMs, pauseMaxMs)
    }
    const stays = work.length > 0 && !isMoving
    // Whether it may go is asked anew by the next cycle: the brake may have to look, or a row is locked no more.
    if (stays && movedOf(yield* Ref.get(tally)) > 0) return
    // What that one can't send either is tried once more while nothing can come unannounced, and then left.
    anyway = stays
    if (isMoving || !resting) continue
    anyway = false
    pauseMs = pauseMinMs
    const heard = yield* Effect.timeoutOption(wakes.heard, Math.min(leftMs, lingersMs))
    if (Option.isNone(heard) || heard.value === "back") return
  }
})

const movedOf = ({ pull, push }: Tally): number =>
  [push, pull].reduce(
    (sum, { conflicts, deleted, inserted, quarantined, updated }) =>
      sum + conflicts + deleted + inserted + updated + quarantined,
    0
  )

const has = (names: ReadonlyArray<TableName>, { table }: Work): boolean =>
  names.some((name) => display(name) === display(table.name))

/** What comes between two cycles takes some 30 ms, in which nothing moves: less than one write in a hundred meets it. */
const lastsMs = 5_000
/** Whoever wants the lease waits so long for nothing at most. */
const lingersMs = 200
