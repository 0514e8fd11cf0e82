/**
 * The command line, run for a sample's pair as people run it, but in this process: starting one takes longer than most of
 * its cycles, and there are hundreds.
 */
import { NodeContext } from "@effect/platform-node"
import { ConfigProvider, Console, Effect, Redacted } from "effect"
import { run } from "../../src/cli.ts"
import { Host } from "../../src/cli/Host.ts"
import type { Side } from "../../src/domain/Side.ts"
import { display } from "../../src/domain/TableName.ts"
import { SampleError } from "./SampleError.ts"
import type { SamplePair } from "./SamplePair.ts"
import type { SampleTable } from "./SampleSchema.ts"

/** As `quarantine list --json` prints it. */
export interface QuarantinedRow {
  readonly id: string
  readonly table: string
  readonly key: ReadonlyArray<string>
  readonly from: Side
  readonly sqlState: string | null
  readonly message: string
  readonly constraint: string | null
}

export interface Ended {
  readonly code: number
  readonly out: string
  readonly err: string
}

export interface SampleProgram {
  /** Fails unless it ends with one of the codes. */
  readonly run: (args: ReadonlyArray<string>, codes: ReadonlyArray<number>) => Effect.Effect<Ended, SampleError>
  readonly quarantine: Effect.Effect<ReadonlyArray<QuarantinedRow>, SampleError>
}

export const make = (pair: SamplePair): SampleProgram => {
  const env = {
    DATABASE_URL: Redacted.value(pair.replit.url),
    EXTERNAL_DB_URL: Redacted.value(pair.external.url),
    SYNC_TABLES: pair.tables.map(({ name }) => display(name)).join(","),
    SYNC_STAMP: pair.tables.flatMap(stampSetting).join(","),
    SYNC_RETRY_FOR: "15 seconds",
    SYNC_BRAKE: "off",
    SYNC_LOG_FORMAT: "logfmt"
  }
  const checked: SampleProgram["run"] = (args, codes) =>
    Effect.flatMap(
      captured(args, env),
      (ended) =>
        codes.includes(ended.code) ? Effect.succeed(ended) : new SampleError({
          message: `\`${args.join(" ")}\` ended with ${ended.code}:\n${ended.out.slice(-2000)}\n${
            ended.err.slice(-4000)
          }`
        })
    )
  return {
    run: checked,
    quarantine: Effect.map(
      checked(["quarantine", "list", "--json"], [0]),
      ({ out }) => (JSON.parse(out) as { quarantine: ReadonlyArray<QuarantinedRow> }).quarantine
    )
  }
}

const captured = (
  args: ReadonlyArray<string>,
  env: Readonly<Record<string, string>>
): Effect.Effect<Ended, SampleError> =>
  Effect.gen(function*() {
    const [out, err]: [Array<unknown>, Array<unknown>] = [[], []]
    const usual = yield* Console.consoleWith(Effect.succeed)
    const into = (lines: Array<unknown>) => (...values: ReadonlyArray<unknown>) =>
      Effect.sync(() => void lines.push(...values))
    const code = yield* run(["node", "vaivem", ...args]).pipe(
      Effect.withConsole({
        ...usual,
        log: into(out),
        error: into(err),
        unsafe: {
          ...usual.unsafe,
          log: (...values) => void out.push(...values),
          error: (...values) => void err.push(...values)
        }
      }),
      Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(env)))),
      Effect.provideService(Host, {
        version: "0",
        isTerminal: { stdin: false, stdout: false, stderr: false },
        terminal: { write: () => {}, columns: () => 80 }
      }),
      Effect.provide(NodeContext.layer),
      Effect.mapError((error) => new SampleError({ message: String(error) }))
    )
    return { code, out: out.join("\n"), err: err.join("\n") }
  })

/** The column that says when a row last changed, by the names that apps give it. */
const stampSetting = ({ columns, name }: SampleTable) => {
  const stamp = columns.find((column) => /^(last_update|atualizado_em)$/.test(column.name))
  return stamp === undefined ? [] : [`${display(name)}=${stamp.name}`]
}
