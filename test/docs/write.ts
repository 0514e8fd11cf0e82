/** `npm run docs`: writes what is generated in the pages, which is the settings tables of both READMEs. */
import { FileSystem } from "@effect/platform"
import { NodeContext, NodeRuntime } from "@effect/platform-node"
import { Console, Effect } from "effect"
import { pagesWithSettings, withSettings } from "./settingsTable.ts"

const write = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  for (const [name, language] of Object.entries(pagesWithSettings)) {
    const before = yield* fs.readFileString(name)
    const after = withSettings(before, language)
    yield* Console.log(`${name}: ${before === after ? "as it should be" : "written"}`)
    if (before !== after) yield* fs.writeFileString(name, after)
  }
})

NodeRuntime.runMain(write.pipe(Effect.provide(NodeContext.layer)))
