/** The built service over HTTP: while it works, and how it ends. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schedule } from "effect"
import * as Http from "node:http"
import * as Net from "node:net"
import { parseExposition } from "../support/exposition.ts"
import { freePort, settings, start } from "../support/Program.ts"
import { freshPair, query } from "../support/TestPostgres.ts"

const token = "um-segredo-de-teste-1234"

const get = (url: string, headers: Readonly<Record<string, string>> = {}) =>
  Effect.tryPromise(async () => {
    const response = await fetch(url, { headers })
    return { status: response.status, body: await response.text() }
  })

describe("the service over HTTP", () => {
  const telling = (more: Readonly<Record<string, string>>) =>
    Effect.gen(function*() {
      const urls = yield* freshPair
      for (const url of [urls.replit, urls.external]) {
        yield* query(url, "create table perfis (id text primary key, nome text, updated_at timestamptz)")
      }
      yield* query(urls.replit, "insert into perfis values ('ana', 'Ana', now())")
      const port = yield* freePort
      const env = { ...settings(urls), SYNC_HTTP_PORT: String(port), SYNC_HTTP_TOKEN: token, ...more }
      const program = yield* start([], { env })
      const out = yield* program.says(/Replit → external: 1 inserted/)
      assert.include(out, `Dashboard: http://127.0.0.1:${port}/ (it wants SYNC_HTTP_TOKEN)`)
      assert.notInclude(out, token)
      const at = `http://127.0.0.1:${port}/`
      assert.strictEqual((yield* get(`${at}ready`)).status, 200)
      assert.strictEqual((yield* get(`${at}metrics`)).status, 401)
      const measured = get(`${at}metrics`, { authorization: `Bearer ${token}` })
      // Both databases are looked at after the cycle.
      yield* Effect.repeat(measured, {
        until: ({ body }) => body.includes("vaivem_table_rows"),
        schedule: Schedule.spaced("50 millis")
      })
      const { body } = yield* measured
      const rows = parseExposition(body).find(({ name }) => name === "vaivem_table_rows")
      assert.deepStrictEqual(rows?.samples.map(({ labels, value }) => [labels["side"], value]), [
        ["replit", 1],
        ["external", 1]
      ])
      // The page comes out of what was built.
      for (
        const path of [
          "",
          "page/page.js",
          "page/texts.js",
          "page/asking.js",
          "page/chart.js",
          "page/elements.js",
          "page/journal.js",
          "page/reading.js",
          "page/page.css",
          "page/icon.svg",
          "page/uplot.js",
          "page/uplot.css"
        ]
      ) {
        const found = yield* get(at + path)
        assert.strictEqual(found.status, 200, path)
        assert.isAbove(found.body.length, 100, path)
      }
      assert.strictEqual((yield* get(`${at}page/..%2fmain.js`)).status, 404)
      assert.strictEqual((yield* get(`${at}api/events`)).status, 401)
      // A page that is open, and a connection that says nothing.
      yield* Effect.acquireRelease(
        Effect.async<Http.ClientRequest>((resume) => {
          const headers = { authorization: `Bearer ${token}` }
          const request = Http.get(`${at}api/events`, { headers }, (response) => {
            response.on("error", () => request.destroy())
            response.once("data", () => resume(Effect.succeed(request)))
          })
          request.on("error", () => request.destroy())
        }),
        (request) => Effect.sync(() => request.destroy())
      )
      yield* Effect.acquireRelease(
        Effect.async<Net.Socket>((resume) => {
          const socket = Net.connect(port, "127.0.0.1", () => resume(Effect.succeed(socket)))
          socket.on("error", () => socket.destroy())
        }),
        (socket) => Effect.sync(() => socket.destroy())
      )
      yield* program.signal("SIGTERM")
      const { code, err } = yield* program.ended.pipe(Effect.timeout("5 seconds"))
      assert.strictEqual(code, 0)
      assert.notInclude(err, token)
    })

  it.scopedLive("tells what its cycles did, and ends in order while somebody listens", () => telling({}))

  it.scopedLive("does the same in live mode", () => telling({ SYNC_LIVE: "true" }))

  it.scopedLive("refuses an address that others can reach without a token", () =>
    Effect.gen(function*() {
      const urls = { DATABASE_URL: "postgresql://u:p@127.0.0.1:1/a", EXTERNAL_DB_URL: "postgresql://u:p@127.0.0.1:1/b" }
      const program = yield* start([], { env: { ...urls, SYNC_HTTP_PORT: "9187", SYNC_HTTP_HOST: "0.0.0.0" } })
      const { code, err, out } = yield* program.ended
      assert.strictEqual(code, 2)
      assert.strictEqual(out, "")
      assert.match(
        err,
        /^SYNC_HTTP_HOST: 0\.0\.0\.0 can be reached from other machines, so SYNC_HTTP_TOKEN must be set/
      )
    }))
})
