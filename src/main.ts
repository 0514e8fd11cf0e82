#!/usr/bin/env node
/** The entry, and the only file that touches the process: arguments, signals, streams, exit code. */
// One by one: the whole package brings an HTTP stack along, and doubles the time that every command takes to start.
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Cause, Effect, Exit, Layer } from "effect"
import { createRequire } from "node:module"
import { run } from "./cli.ts"
import { Host } from "./cli/Host.ts"

const { version }: { readonly version: string } = createRequire(import.meta.url)("vaivem/package.json")

const host = Layer.succeed(Host, {
  version,
  isTerminal: { stdin: process.stdin.isTTY, stdout: process.stdout.isTTY, stderr: process.stderr.isTTY },
  terminal: { write: (text) => void process.stderr.write(text), columns: () => process.stderr.columns || 80 }
})

// Whoever reads our output may go away at any time (`| head`); the sync goes on.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error
  })
}

// The batch in hand is finished, but a server that does not answer must not hold up the end. The listener stays, so
// that a second signal, as npm sends one, does not end the process in the middle.
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => setTimeout(() => process.exit(0), 9_500).unref())
}

const main = Effect.map(run(process.argv), (code) => {
  process.exitCode = code
})

main.pipe(
  Effect.provide(Layer.merge(NodeContext.layer, host)),
  NodeRuntime.runMain({
    disableErrorReporting: true,
    disablePrettyLogger: true,
    teardown: (exit) => {
      if (Exit.isFailure(exit) && !Cause.isInterruptedOnly(exit.cause)) {
        process.stderr.write(`A defect of vaivem ended it, please report it:\n${Cause.pretty(exit.cause)}\n`)
        process.exit(1)
      }
      process.exit()
    }
  })
)
