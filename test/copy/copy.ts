/**
 * `npm run test:copy`: the first copy of a big table by the built program, which is killed again and again while an app writes on
 * both sides. Two embedded servers, default durability.
 *
 * `--rows 5000000`, `--kills 6`, `--seed N`, `--from replit` or `external`. First it copies `--few 500000` rows without a kill, for
 * what `plan` said of the bytes, and for the memory that so many more rows must not need. Prints what happens as it happens,
 * and exits 1 when anything is not as it must be, 2 when it can't be tried.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Cause, Clock, Console, Effect } from "effect"
import { parseArgs } from "node:util"
import { bytes, count, duration } from "../../src/domain/Quantity.ts"
import { type Side, sides } from "../../src/domain/Side.ts"
import { textTable } from "../../src/domain/TextTable.ts"
import * as BenchPair from "../bench/BenchPair.ts"
import { built } from "../bench/Program.ts"
import { type Copied, CopyError, copying, inHandMax } from "./copying.ts"

const options = Effect.try({
  try: () => {
    const { values } = parseArgs({
      options: {
        rows: { type: "string", default: "5000000" },
        few: { type: "string", default: "500000" },
        kills: { type: "string", default: "6" },
        seed: { type: "string", default: "1" },
        from: { type: "string", default: "replit" }
      }
    })
    const from = sides.find((side) => side === values.from)
    if (from === undefined) throw new Error("--from is replit or external.")
    const number = (text: string) => {
      if (!/^\d+$/.test(text)) throw new Error(`${text} is no number.`)
      return Number(text)
    }
    return {
      rows: number(values.rows),
      few: number(values.few),
      kills: number(values.kills),
      seed: number(values.seed),
      from
    }
  },
  catch: (cause) => new CopyError({ message: String(cause) })
})

const test = Effect.gen(function*() {
  const { few, from, kills, rows, seed } = yield* options
  yield* built
  const servers = yield* BenchPair.makeServers
  yield* Console.log(`Seed ${seed}.`)
  const small = yield* copyOnce(servers, { from, rows: few, kills: 0, seed })
  const big = yield* copyOnce(servers, { from, rows, kills, seed })
  yield* Console.log(resultText(small, few, big, rows))
  const wrong = wrongIn(small, big)
  for (const what of wrong) yield* Console.error(what)
  if (wrong.length > 0) process.exitCode = 1
}).pipe(Effect.scoped)

const copyOnce = Effect.fnUntraced(function*(
  servers: BenchPair.Servers,
  options: { readonly from: Side; readonly rows: number; readonly kills: number; readonly seed: number }
) {
  return yield* Effect.scoped(Effect.gen(function*() {
    const urls = yield* BenchPair.makeUrls(servers)
    const startedMs = yield* Clock.currentTimeMillis
    const say = (line: string) =>
      Effect.flatMap(
        Clock.currentTimeMillis,
        (nowMs) => Console.log(`${duration(nowMs - startedMs).padStart(11)}  ${line}`)
      )
    return yield* copying({ ...urls, ...options, appEveryMs: 20, say })
  }))
})

const wrongIn = (small: Copied, big: Copied): ReadonlyArray<string> => [
  // What so small a process holds differs from run to run by as much.
  ...(small.peakBytes !== null && big.peakBytes !== null &&
      big.peakBytes > Math.max(1.25 * small.peakBytes, 200_000_000)
    ? [`${bytes(big.peakBytes)} of memory for the big table, ${bytes(small.peakBytes)} for the small one.`]
    : []),
  ...(Math.abs(small.plannedBytes / small.movedBytes - 1) > 0.1
    ? [`\`plan\` said ${bytes(small.plannedBytes)}, and ${bytes(small.movedBytes)} moved.`]
    : []),
  ...(big.again > big.killed * inHandMax
    ? [`${count(big.again)} rows travelled again after ${big.killed} kills: more than were in hand.`]
    : []),
  ...sides.filter((side) => Math.max(small.slowestMs[side], big.slowestMs[side]) > slowestMax)
    .map((side) => `An update of one row on ${side} took longer than ${duration(slowestMax)}.`)
]

const slowestMax = 5_000

const resultText = (small: Copied, few: number, big: Copied, rows: number): string => {
  const line = (what: string, of: (copied: Copied) => string) => [what, of(small), of(big)]
  const memory = ({ peakBytes }: Copied) => peakBytes === null ? "not measured" : bytes(peakBytes)
  return textTable([
    ["", `${count(few)} rows`, `${count(rows)} rows`],
    line("from the start to the last run's end", ({ tookMs }) => duration(tookMs)),
    line("killed", ({ killed }) => `${killed} times`),
    line("most memory of the program", memory),
    line("`plan` said would move", ({ plannedBytes }) => bytes(plannedBytes)),
    line("the last run moved", ({ movedBytes }) => bytes(movedBytes)),
    line("rows that travelled again", ({ again }) => count(again)),
    ...sides.map((side) => line(`slowest update of one row on ${side}`, ({ slowestMs }) => duration(slowestMs[side]))),
    ...sides.map((side) => line(`disk on ${side}`, ({ diskBytes }) => bytes(diskBytes[side])))
  ], { right: [1, 2] })
}

const tell = (cause: Cause.Cause<{ readonly message: string; readonly _tag: string }>) =>
  Cause.isInterruptedOnly(cause)
    ? Effect.void
    : Effect.zipRight(
      Console.error(cause._tag === "Fail" ? cause.error.message : Cause.pretty(cause)),
      Effect.sync(() => void (process.exitCode = cause._tag === "Fail" && cause.error._tag === "CopyError" ? 1 : 2))
    )

test.pipe(Effect.catchAllCause(tell), NodeRuntime.runMain({ disableErrorReporting: true, disablePrettyLogger: true }))
