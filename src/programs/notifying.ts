/**
 * Tells people, by a webhook, what the service knows and a person should: each thing once (`tell`). On fibers of its own, so
 * that no cycle ever waits for it.
 */
import { Effect, Fiber, Mailbox, Ref, Schedule, Stream } from "effect"
import { nothingTold, type Notice, type Standing, tell } from "../domain/telling.ts"
import type { NotSent, Send } from "../services/Notifier.ts"
import type { Observed, Observer } from "./Observer.ts"

/**
 * Goes on until the scope closes; what waits then has 2 seconds. What is told is kept in this process: one that is started
 * again tells again what still holds.
 */
export const notifying = Effect.fn("notifying")(function*(observer: Observer["Type"], send: Send) {
  const queue = yield* Mailbox.make<Notice>({ capacity: queueMax, strategy: "dropping" })
  const told = yield* Ref.make(nothingTold)
  const take = Effect.fnUntraced(function*(observed: Observed) {
    const now = standingOf(observed)
    const notices = yield* Ref.modify(told, (before) => {
      const next = tell(before, now)
      return [next.notices, next.told] as const
    })
    for (const notice of notices) {
      if (!(yield* queue.offer(notice))) yield* say(notice, "the queue is full")
    }
  })
  // One after the other, so that what is over isn't told before it began.
  const sending = Effect.forever(Effect.flatMap(queue.take, deliver(send))).pipe(
    Effect.catchTag("NoSuchElementException", () => Effect.void)
  )
  yield* Effect.acquireRelease(
    Effect.forkDaemon(Effect.interruptible(sending)),
    (sender) =>
      Effect.gen(function*() {
        yield* take(yield* observer.now)
        yield* queue.end
        yield* Fiber.join(sender).pipe(Effect.interruptible, Effect.timeoutOption(atTheEnd))
        yield* Fiber.interrupt(sender)
      })
  )
  yield* Effect.forkScoped(Stream.runForEach(observer.changes, take))
})

const standingOf = (observed: Observed): Standing => {
  const { capturedAnew, differing, error, failures, folded, passed, paused, quarantined } = observed
  return {
    failure: error === null ? null : { count: failures, message: error.message, needsPerson: error.needsPerson },
    hasPassed: passed !== null,
    // Who paused a table knows it.
    waiting: paused.filter(({ byHand }) => byHand === undefined),
    quarantined,
    differing,
    capturedAnew,
    folded
  }
}

const deliver = (send: Send) => (notice: Notice) =>
  send(notice).pipe(
    Effect.retry({ while: ({ mayPass }: NotSent) => mayPass, schedule: again }),
    Effect.matchEffect({
      onSuccess: () => Effect.logInfo("Notified").pipe(Effect.annotateLogs(annotations(notice))),
      onFailure: ({ reason }) => say(notice, reason)
    })
  )

/** The log has what it was about, where that began. */
const say = (notice: Notice, reason: string) =>
  Effect.logWarning("Could not notify").pipe(Effect.annotateLogs({ ...annotations(notice), reason }))

const annotations = ({ event, table }: Notice) => ({ event, ...(table === null ? {} : { table }) })

/** From 1 second to 5 minutes apart, for an hour: a network that is away, as both databases are then, comes back. */
const again = Schedule.exponential("1 second").pipe(
  Schedule.either(Schedule.spaced("5 minutes")),
  Schedule.upTo("1 hour")
)

/** More than that are dropped, the newest: a hundred things that began within an hour are one thing. */
const queueMax = 100
/** Two of the 9.5 seconds that a stopped service has. */
const atTheEnd = "2 seconds"
