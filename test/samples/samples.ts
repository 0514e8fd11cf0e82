/**
 * `npm run test:samples -- FOLDER`: databases that nobody here designed, kept equal while both sides are edited at random.
 *
 * Each dump `*.sql` of the folder, and the tables of profiles in this one, is loaded on Replit's side with the other side
 * empty, and the other way round. After the first cycle a seeded editor writes on both sides, for 20 cycles; then whatever is
 * in quarantine is cured, and every table must be equal. Exits 1 when anything differs, and 2 when it can't be tried.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Cause, Clock, Console, Effect, Exit, Random } from "effect"
import * as Fs from "node:fs/promises"
import * as Path from "node:path"
import { parseArgs } from "node:util"
import { duration } from "../../src/domain/Quantity.ts"
import { label } from "../../src/domain/Side.ts"
import { textTable } from "../../src/domain/TextTable.ts"
import { freshServer } from "../support/TestServer.ts"
import * as Dice from "./Dice.ts"
import { SampleError } from "./SampleError.ts"
import * as SampleFile from "./SampleFile.ts"
import type { Way } from "./SamplePair.ts"
import { type Tried, trySample } from "./trySample.ts"

const options = Effect.try({
  try: () => {
    const { positionals, values } = parseArgs({
      allowPositionals: true,
      options: {
        seed: { type: "string" },
        cycles: { type: "string", default: "20" },
        edits: { type: "string", default: "24" },
        postgres: { type: "string" },
        replit: { type: "string" },
        external: { type: "string" },
        only: { type: "string" }
      }
    })
    return {
      folder: positionals[0],
      ...values,
      replit: values.replit ?? values.postgres,
      external: values.external ?? values.postgres
    }
  },
  catch: (cause) => new SampleError({ message: String(cause) })
})

const fixtures = import.meta.dirname

const samples = Effect.gen(function*() {
  const { cycles, edits, external, folder, only, replit, ...asked } = yield* options
  const seed = asked.seed === undefined ? yield* Random.nextIntBetween(1, 1_000_000) : Number(asked.seed)
  const versions = { replit, external }
  const servers = yield* Effect.all({ replit: server(versions.replit), external: server(versions.external) })
  const files = (yield* Effect.forEach([...(folder === undefined ? [] : [folder]), fixtures], dumps)).flat()
    .filter((file) => only === undefined || Path.basename(file).startsWith(only))
  yield* Console.log(
    `Seed ${seed}; PostgreSQL ${replit ?? "as installed"} for Replit, ${external ?? "as installed"} for external; `
      + `${cycles} cycles each.`
  )
  let failed = 0
  for (const file of files) {
    const steps = yield* SampleFile.read(file)
    for (const way of waysOf(file)) {
      const startedMs = yield* Clock.currentTimeMillis
      const tried = yield* Effect.exit(
        trySample(servers, {
          steps,
          way,
          cycles: Number(cycles),
          edits: Number(edits),
          dice: Dice.make(seed, `${Path.basename(file)} ${wayText(way)}`)
        })
      )
      const took = duration((yield* Clock.currentTimeMillis) - startedMs)
      yield* Console.log(`\n${Path.basename(file)}, ${wayText(way)}, in ${took}\n`)
      const problems = Exit.isSuccess(tried) ? problemsOf(tried.value) : [failureText(tried.cause)]
      if (Exit.isSuccess(tried)) yield* Console.log(tableText(tried.value))
      yield* Console.log(problems.length === 0 ? "\nAll equal." : `\nNOT as it must be:\n${problems.join("\n")}`)
      if (problems.length > 0) failed++
    }
  }
  yield* Console.log(failed === 0 ? "\nAll samples ended equal." : `\n${failed} did not pass; seed ${seed}.`)
  if (failed > 0) process.exitCode = 1
}).pipe(Effect.scoped)

const server = (version: string | undefined) => freshServer({}, version)

const dumps = (folder: string) =>
  Effect.tryPromise({
    try: async () =>
      (await Fs.readdir(folder)).filter((name) => name.endsWith(".sql")).sort().map((name) => Path.join(folder, name)),
    catch: (cause) => new SampleError({ message: `${folder} can't be read: ${String(cause)}` })
  })

/** Both directions; and for a schema of plain columns, tables that are made by `setup --create-missing`. */
const waysOf = (file: string): ReadonlyArray<Way> => [
  { filled: "replit", other: "empty" },
  { filled: "external", other: "empty" },
  ...(Path.basename(file).startsWith("northwind") ? [{ filled: "replit", other: "none" } as const] : [])
]

const wayText = ({ filled, other }: Way) =>
  `filled on ${label(filled)}, ${other === "empty" ? "empty" : "created by setup --create-missing"} on the other side`

const problemsOf = ({ problems, tables }: Tried): ReadonlyArray<string> => [
  ...problems,
  ...(tables.some(({ conflicts }) => conflicts > 0) ? [] : ["No conflict happened: nothing is proved about them."])
]

const tableText = ({ tables }: Tried) =>
  textTable([
    ["table", "rows", "edits on Replit", "on external", "refused by schema", "conflicts", "quarantined", "by"],
    ...tables.map(({ conflicts, constraints, edits, quarantined, rows, table }) => [
      table,
      String(rows),
      editsText(edits.replit),
      editsText(edits.external),
      String(edits.replit.refused + edits.external.refused),
      String(conflicts),
      String(quarantined),
      constraints.join(", ")
    ])
  ], { right: [1, 4, 5, 6], cellMax: 70 })

const editsText = ({ deleted, inserted, updated }: Tried["tables"][number]["edits"]["replit"]) =>
  `+${inserted} ~${updated} -${deleted}`

const failureText = (cause: Cause.Cause<{ readonly message: string }>) =>
  cause._tag === "Fail" ? cause.error.message : Cause.pretty(cause)

samples.pipe(
  Effect.catchAllCause((cause) =>
    Cause.isInterruptedOnly(cause) ? Effect.void : Effect.zipRight(
      Console.error(failureText(cause)),
      Effect.sync(() => void (process.exitCode = 2))
    )
  ),
  NodeRuntime.runMain({ disableErrorReporting: true, disablePrettyLogger: true })
)
