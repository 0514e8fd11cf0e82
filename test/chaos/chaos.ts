/**
 * `npm run chaos -- --minutes 10 [--seed N]`: the built program on two real servers, apps that write on both sides, and a
 * nemesis that kills processes, servers and connections. Prints the seed and what happens when. Then all trouble ends, and
 * what is left must be what the design promises. Exits 1 when it isn't, and 2 when the run could not be made.
 *
 * The seed fixes what is done, not how it meets: processes and servers are real, and run as they like.
 */
import { NodeContext, NodeRuntime } from "@effect/platform-node"
import { Cause, Clock, Console, Data, Duration, Effect, Fiber } from "effect"
import { parseArgs } from "node:util"
import { sides } from "../../src/domain/Side.ts"
import { Fate } from "../simulation/Fate.ts"
import { aftermath } from "./aftermath.ts"
import * as Arena from "./Arena.ts"
import * as Chronicle from "./Chronicle.ts"
import { type Life, live, type Lives, once } from "./lives.ts"
import * as nemesis from "./nemesis.ts"
import { type Acknowledged, write } from "./writers.ts"

class ChaosError extends Data.TaggedError("ChaosError")<{ readonly message: string }> {}

const options = Effect.gen(function*() {
  const { values } = yield* Effect.try({
    try: () => parseArgs({ options: { minutes: { type: "string", default: "10" }, seed: { type: "string" } } }),
    catch: (cause) => new ChaosError({ message: String(cause) })
  })
  const seed = values.seed === undefined ? (yield* Clock.currentTimeMillis) % 1_000_000 : Number(values.seed)
  const minutes = Number(values.minutes)
  if (!Number.isSafeInteger(seed) || !(minutes > 0)) {
    return yield* new ChaosError({ message: "Give --minutes a number of minutes and --seed a whole number." })
  }
  return { minutes, seed }
})

const chaos = Effect.gen(function*() {
  const { minutes, seed } = yield* options
  const chronicle = yield* Chronicle.make
  yield* Console.log(`seed ${seed}, ${minutes} minutes`)
  const arena = yield* Arena.make
  if (arena.replit.smallDisk === null) yield* chronicle.tell("No small disk can be mounted here, so none gets full.")
  const first = yield* once(arena, "--once")
  if (first.code !== 0) return yield* new ChaosError({ message: `The first cycle failed: ${first.err}` })

  const acknowledged: Array<Acknowledged> = []
  const lives: Lives = { now: new Set<Life>(), problems: [] }
  const fate = new Fate(seed)
  const chances = Array.from({ length: 10 }, (_, index) => fate.at(`chance ${index}`))
  const trouble = [
    ...sides.flatMap((side, place) =>
      [1, 2, 3].map((n) => write(arena[side], `${side[0]}${n}`, chances[place * 3 + n]!, chronicle, acknowledged))
    ),
    live(arena, "A", lives, chances[7]!, chronicle, () => Duration.millis(chances[7]!.below(800))),
    live(arena, "B", lives, chances[8]!, chronicle, () => Duration.millis(chances[8]!.below(20_000))),
    nemesis.make(arena, lives, chances[9]!, chronicle)
  ]
  const fibers = yield* Effect.forEach(trouble, (one) => Effect.fork(one))
  yield* Effect.raceFirst(
    Effect.sleep(Duration.minutes(minutes)),
    // None of them ends by itself.
    Effect.raceAll(fibers.map((fiber) => Fiber.join(fiber)))
  )
  yield* Fiber.interruptAll(fibers)
  for (const side of sides) yield* arena[side].server.start
  yield* chronicle.tell("From here on nothing happens but clean cycles.")
  const problems = [...lives.problems, ...(yield* aftermath(arena, acknowledged, chronicle))]
  for (const [what, count] of yield* chronicle.counted) yield* Console.log(`${String(count).padStart(9)}  ${what}`)
  if (problems.length === 0) return yield* Console.log(`seed ${seed}: every promise was kept.`)
  yield* Console.log(`seed ${seed}: ${problems.length} problems\n${problems.slice(0, 200).join("\n")}`)
  process.exitCode = 1
})

chaos.pipe(
  Effect.scoped,
  Effect.provide(NodeContext.layer),
  Effect.catchAllCause((cause) => {
    process.exitCode = 2
    return Console.error(Cause.pretty(cause))
  }),
  NodeRuntime.runMain({ disableErrorReporting: true })
)
