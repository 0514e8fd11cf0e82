/** The built service with a webhook and a collector: what it tells them, and what it loads without them. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { metricsOf, pathOf, spansOf } from "../support/collector.ts"
import { run, settings, start } from "../support/Program.ts"
import { freshPair, query } from "../support/TestPostgres.ts"
import { webServer } from "../support/WebServer.ts"

const dist = Path.resolve(import.meta.dirname, "../../dist")

const pairWithRows = Effect.gen(function*() {
  const urls = yield* freshPair
  for (const url of [urls.replit, urls.external]) {
    yield* query(url, "create table perfis (id text primary key, email text, updated_at timestamptz)")
  }
  yield* query(urls.external, "alter table perfis add check (id <> 'ana')")
  return urls
})

describe("the service with a webhook and a collector", () => {
  it.scopedLive("tells of quarantine and of capture that is gone, and sends traces of cycles down to their statements", () =>
    Effect.gen(function*() {
      const urls = yield* pairWithRows
      const hook = yield* webServer()
      const collector = yield* webServer()
      const rows =
        "insert into perfis select 'r' || n, 'segredo' || n || '@exemplo.pt', now() from generate_series(1, 150) n"
      yield* query(urls.replit, rows)
      const program = yield* start([], {
        env: {
          ...settings(urls),
          SYNC_INTERVAL: "1 second",
          SYNC_NOTIFY_URL: `${hook.url}/segredo-do-webhook`,
          OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
          OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
          OTEL_EXPORTER_OTLP_HEADERS: "authorization=Bearer%20segredo-da-telemetria"
        }
      })
      yield* program.says(/Replit → external: 150 inserted/)
      yield* query(urls.replit, "insert into perfis values ('ana', 'segredo@exemplo.pt', now())")
      const [told] = yield* hook.comes(() => true)
      assert.include(JSON.parse(told!.body), { source: "vaivem", event: "quarantine" })
      yield* query(urls.replit, "insert into perfis values ('eva', null, now())")
      yield* program.says(/Replit → external: 1 inserted/)
      yield* query(urls.external, "alter table perfis disable trigger user")
      yield* hook.comes(({ body }) => JSON.parse(body).event === "capture")
      yield* program.signal("SIGTERM")
      const { code, err, out } = yield* program.ended
      assert.strictEqual(code, 0)

      const traces = collector.received.filter(({ path }) => path === "/v1/traces")
      const spans = spansOf(traces)
      const statements = spans.filter(({ name }) => name === "statement").map((span) => pathOf(span, spans))
      const under = (...names: ReadonlyArray<string>) =>
        statements.filter((path) => {
          const places = names.map((name) => path.findIndex((span) => span.name === name))
          return places.every((place, i) => place >= 0 && place > (places[i - 1] ?? -1))
        })
      const inBatches = under("cycle", "push", "batch", "statement")
      assert.isNotEmpty(inBatches)
      assert.isNotEmpty(under("cycle", "few", "batch", "statement"))
      assert.isUndefined(inBatches[0]![0]!.parentSpanId)
      const batch = inBatches[0]!.find(({ name }) => name === "batch")!
      assert.include(batch.attributes, { "vaivem.table": "perfis", "vaivem.from": "replit", "vaivem.rows": 150 })
      assert.isAbove(Number(batch.attributes["vaivem.bytes"]), 1_000)
      assert.includeMembers(inBatches.map((path) => path.at(-1)!.attributes["vaivem.side"]), ["replit", "external"])
      assert.includeMembers(inBatches.map((path) => path.at(-1)!.attributes["db.operation.name"]), ["begin", "copy"])

      const metrics = metricsOf(collector.received.filter(({ path }) => path === "/v1/metrics"))
      for (const name of ["vaivem_cycles_total", "vaivem_cycle_seconds", "vaivem.pending_rows", "vaivem.bytes_total"]) {
        assert.isTrue(metrics.has(name), name)
      }
      assert.strictEqual(collector.received[0]!.headers.authorization, "Bearer segredo-da-telemetria")
      assert.lengthOf(hook.received, 2)
      assert.notInclude([...hook.received, ...collector.received].map(({ body }) => body).join(), "segredo")
      assert.notInclude(out + err, "segredo")
    }))

  it.scopedLive("goes on as ever with a collector that hangs and a webhook that is away, and ends in time", () =>
    Effect.gen(function*() {
      const urls = yield* pairWithRows
      const collector = yield* webServer(() => null)
      yield* query(urls.replit, "insert into perfis values ('eva', null, now())")
      const program = yield* start([], {
        env: {
          ...settings(urls),
          SYNC_INTERVAL: "1 second",
          SYNC_NOTIFY_URL: "http://127.0.0.1:1/",
          OTEL_EXPORTER_OTLP_ENDPOINT: collector.url
        }
      })
      yield* program.says(/Replit → external: 1 inserted/)
      yield* query(urls.replit, "insert into perfis values ('ana', null, now())")
      yield* program.says(/quarantine/)
      yield* program.signal("SIGTERM")
      const { code } = yield* program.ended.pipe(Effect.timeout("9 seconds"))
      assert.strictEqual(code, 0)
    }))

  it.scopedLive("check sends a test message when asked to, and says whether it arrived", () =>
    Effect.gen(function*() {
      const urls = yield* pairWithRows
      const hook = yield* webServer(() => 404)
      const env = { ...settings(urls), SYNC_NOTIFY_URL: `${hook.url}/segredo` }
      const { code, err, out } = yield* run(["check", "--notify"], { env })
      assert.strictEqual(code, 3)
      assert.include(JSON.parse(hook.received[0]!.body), {
        event: "test",
        text: "vaivem: This is a test, sent by `check`."
      })
      assert.include(out, "PROBLEM: The test message to SYNC_NOTIFY_URL was not accepted: HTTP 404.")
      assert.notInclude(out + err, "segredo")
    }))

  it("loads neither an exporter nor a notifier without them", () => {
    const loaded = new Set<string>()
    const load = (name: string): void => {
      if (loaded.has(name)) return
      loaded.add(name)
      for (const [, other] of textOf([name]).matchAll(/^import\b[^;]*?"\.\/([^"]+)";/gm)) load(other!)
    }
    const textOf = (names: Iterable<string>) =>
      [...names].map((name) => Fs.readFileSync(Path.join(dist, name), "utf8")).join("\n")
    const holds = (text: string) => [text.includes("resourceSpans"), text.includes("Could not notify")]
    load("main.js")
    assert.isAbove(loaded.size, 3)
    assert.deepStrictEqual(holds(textOf(loaded)), [false, false])
    assert.deepStrictEqual(holds(textOf(Fs.readdirSync(dist).filter((name) => name.endsWith(".js")))), [true, true])
  })
})
