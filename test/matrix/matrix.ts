/**
 * `npm run test:matrix`: the conformance suite and the suites of values and tables on PostgreSQL 14 to 18, and with a
 * side of each of the oldest and the newest.
 *
 * `npm run test:matrix -- 14 14,18` runs these pairs only; files of tests may follow, as `test/pg/keys.test.ts`, instead
 * of the suites. Prints a line for each pair, and exits 1 when a test failed. The servers' programs are installed into
 * this folder on first use, some 300 MB.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Clock, Console, Effect } from "effect"
import { spawn } from "node:child_process"
import * as Fs from "node:fs/promises"
import * as Os from "node:os"
import * as Path from "node:path"
import { duration } from "../../src/domain/Quantity.ts"
import { packageOf, versionsOf } from "../support/PostgresVersions.ts"

const everyPair = ["14", "15", "16", "17", "18", "14,18", "18,14"]
const suites = ["versions", "PgDatabase", "apply", "columns", "keys", "parents", "cascades", "partitions", "triggers"]
  .map((name) => `test/pg/${name}.test.ts`)
const root = Path.resolve(import.meta.dirname, "../..")

/** What vitest's JSON reporter writes, as far as it is needed here. */
interface Report {
  readonly numPassedTests: number
  readonly numFailedTests: number
  readonly success: boolean
  readonly testResults: ReadonlyArray<{
    readonly name: string
    readonly message: string
    readonly assertionResults: ReadonlyArray<{
      readonly fullName: string
      readonly status: string
      readonly failureMessages: ReadonlyArray<string>
    }>
  }>
}

const matrix = Effect.gen(function*() {
  const asked = process.argv.slice(2)
  const pairs = asked.filter((word) => /^\d+(,\d+)?$/.test(word))
  const files = asked.filter((word) => !pairs.includes(word))
  let failed = 0
  for (const pair of pairs.length > 0 ? pairs : everyPair) {
    const { external, replit } = versionsOf(pair)
    for (const version of [replit, external]) yield* packageOf(version ?? "")
    const startedMs = yield* Clock.currentTimeMillis
    const report = yield* vitest(pair, files.length > 0 ? files : suites)
    const took = duration((yield* Clock.currentTimeMillis) - startedMs)
    yield* Console.log(
      `Replit ${replit}, external ${external}: ${report.numPassedTests} passed, ${report.numFailedTests} failed${
        report.success ? "" : " (not all ran well)"
      }, ${took}`
    )
    if (!report.success) {
      failed++
      yield* Console.log(failures(report))
    }
  }
  if (failed > 0) process.exitCode = 1
})

const vitest = (pair: string, files: ReadonlyArray<string>) =>
  Effect.scoped(Effect.gen(function*() {
    const folder = yield* Effect.acquireRelease(
      Effect.promise(() => Fs.mkdtemp(Path.join(Os.tmpdir(), "vaivem-matrix-"))),
      (folder) => Effect.promise(() => Fs.rm(folder, { recursive: true, force: true }))
    )
    const output = Path.join(folder, "report.json")
    yield* Effect.async<void>((resume) => {
      const child = spawn(
        "npx",
        ["vitest", "run", "--project", "pg", "--reporter=json", `--outputFile=${output}`, ...files],
        { cwd: root, env: { ...process.env, TEST_POSTGRES_VERSION: pair }, stdio: ["ignore", "ignore", 2] }
      )
      child.once("close", () => resume(Effect.void))
      return Effect.sync(() => void child.kill())
    })
    // A run that broke off before its end leaves no report: that is a failure without tests.
    const none: Report = { numPassedTests: 0, numFailedTests: 0, success: false, testResults: [] }
    return yield* Effect.promise(() =>
      Fs.readFile(output, "utf8").then((text) => JSON.parse(text) as Report, () => none)
    )
  }))

const failures = (report: Report): string =>
  report.testResults.flatMap(({ assertionResults, message, name }) => [
    ...(message === "" ? [] : [`  ${Path.relative(root, name)}: ${message}`]),
    ...assertionResults.filter(({ status }) => status === "failed").map(({ failureMessages, fullName }) =>
      `  ${fullName}\n    ${failureMessages.join("\n").split("\n").slice(0, 6).join("\n    ")}`
    )
  ]).join("\n")

NodeRuntime.runMain(matrix)
