/** Answers the page's own files, which hold nothing of anybody's data. */
import { FileSystem, HttpApiBuilder, HttpApiError, HttpServerResponse, Path } from "@effect/platform"
import { Effect } from "effect"
import { createRequire } from "node:module"
import { ActionNeeded } from "../domain/SyncError.ts"
import { Api } from "./Api.ts"

/** Read once: nothing of a request leads to a file. */
export const page = HttpApiBuilder.group(Api, "page", (handlers) =>
  Effect.gen(function*() {
    const files = yield* readPage
    const answer = (name: string) => {
      const found = files.get(name)
      return found === undefined
        ? new HttpApiError.NotFound()
        : Effect.succeed(HttpServerResponse.text(found.text, { contentType: found.type }))
    }
    return handlers
      .handleRaw("index", () => Effect.orDie(answer("index.html")))
      .handleRaw("file", ({ path }) => answer(path.name))
  }))

/** The page's own files lie beside this module, wherever it was bundled to; the chart's, too, but when it runs unbundled. */
const readPage = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const folder = yield* path.fromFileUrl(new URL("./page/", import.meta.url))
  /** Of the package, where `build.js` has not copied it. */
  const chart = (name: string, file: string) => {
    const copied = path.join(folder, name)
    return Effect.map(
      Effect.if(fs.exists(copied), {
        onTrue: () => Effect.succeed(copied),
        onFalse: () => Effect.try(() => createRequire(import.meta.url).resolve(`uplot/dist/${file}`))
      }),
      (found) => [name, found] as const
    )
  }
  const files = [
    ...[
      "index.html",
      "page.css",
      "page.js",
      "asking.js",
      "chart.js",
      "elements.js",
      "journal.js",
      "reading.js",
      "texts.js",
      "icon.svg"
    ].map((name) => [name, path.join(folder, name)] as const),
    yield* chart("uplot.js", "uPlot.esm.js"),
    yield* chart("uplot.css", "uPlot.min.css")
  ]
  const read = yield* Effect.forEach(
    files,
    ([name, file]) =>
      Effect.map(fs.readFileString(file), (text) => [name, { text, type: types[path.extname(name)]! }] as const)
  )
  return new Map(read)
}).pipe(
  Effect.mapError((cause) =>
    new ActionNeeded({ message: `The page's files can't be read; install this program again. (${String(cause)})` })
  )
)

const types: Readonly<Record<string, string>> = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".svg": "image/svg+xml"
}
