/**
 * `npm run simulate -- --for 30m` plays new seeds for so long; `--seed 123` plays that one, and with `--steps` tells its
 * history, whole; with both, seeds from that one on. `--without pause,decision` leaves things out that happen (see `Kind`):
 * without these two, a seed's history is the one that it was before people did them. Exit code 1 when a promise was broken.
 */
import { Console, Duration, Effect } from "effect"
import process from "node:process"
import { parseArgs } from "node:util"
import type { Dropped, Kind } from "./Fate.ts"
import { failureOf } from "./playing.ts"
import { simulate } from "./simulate.ts"

Error.stackTraceLimit = 10

const { values } = parseArgs({
  options: {
    for: { type: "string" },
    seed: { type: "string" },
    steps: { type: "boolean", default: false },
    without: { type: "string", default: "" }
  }
})

const dropped: Dropped = {
  kinds: new Set(values.without.split(",").filter((kind) => kind !== "") as ReadonlyArray<Kind>),
  ids: new Set()
}

const units: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600 }

const seconds = (text: string): number => {
  const [, amount, unit] = /^(\d+)([smh])$/.exec(text) ?? []
  if (amount === undefined) throw new Error(`--for ${text} is no time: say 90s, 30m or 2h.`)
  return Number(amount) * units[unit!]!
}

const single = (seed: number) =>
  Effect.gen(function*() {
    const { problems, story } = yield* simulate(seed, { dropped })
    if (values.steps) yield* Console.log(story.join("\n"))
    const failure = problems.length === 0 || values.steps ? null : yield* failureOf(seed, dropped)
    yield* Console.log(failure ?? (problems.length === 0 ? `Seed ${seed} kept all promises.` : problems.join("\n")))
    return problems.length === 0
  })

const soak = (first: number, forSeconds: number) =>
  Effect.gen(function*() {
    const started = performance.now()
    const elapsed = () => (performance.now() - started) / 1000
    let said = 0
    for (let seed = first; elapsed() < forSeconds; seed++) {
      const failure = yield* failureOf(seed, dropped)
      if (failure !== null) {
        yield* Console.log(failure)
        return false
      }
      if (elapsed() - said < 10 && elapsed() < forSeconds) continue
      said = elapsed()
      const count = seed - first + 1
      const left = Duration.format(Duration.seconds(Math.max(0, Math.round(forSeconds - said))))
      yield* Console.log(`Seeds ${first} to ${seed}: ${(count / said).toFixed(1)} histories/s, all kept; ${left} to go`)
    }
    return true
  })

const first = values.seed === undefined ? Math.floor(Math.random() * 1e9) : Number(values.seed)
const program = values.for === undefined && values.seed !== undefined
  ? single(first)
  : soak(first, seconds(values.for ?? "1m"))

process.exitCode = (await Effect.runPromise(program)) ? 0 : 1
