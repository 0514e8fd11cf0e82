import { FetchHttpClient, HttpApiClient, HttpClient, HttpClientRequest } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Chunk, Deferred, Effect, Exit, Fiber, Redacted, Ref, Scope, TestClock } from "effect"
import * as Http from "node:http"
import { Unavailable } from "../../src/domain/SyncError.ts"
import { Api, type ConflictView } from "../../src/http/Api.ts"
import { serve } from "../../src/http/serve.ts"
import { makeCycle } from "../../src/programs/cycle.ts"
import { makeObserver, Observer } from "../../src/programs/Observer.ts"
import { parseExposition } from "../support/exposition.ts"
import { makePair, perfis, perfisTable, profile } from "../support/MemoryPair.ts"
import { quietly, startServed } from "../support/Served.ts"

const token = "um-segredo-de-teste-1234"

/** The same with clients. */
const start = Effect.fnUntraced(function*(...options: Parameters<typeof startServed>) {
  const served = yield* startServed(...options)
  const client = (bearer?: string) =>
    HttpApiClient.make(Api, {
      baseUrl: served.url,
      transformClient: (client) =>
        bearer === undefined ? client : HttpClient.mapRequest(client, HttpClientRequest.bearerToken(bearer))
    }).pipe(Effect.provide(FetchHttpClient.layer))
  return { ...served, client }
})

/** One conflict, lost by Replit's version. */
const contest = Effect.fnUntraced(function*(
  { run, servers }: Pick<Effect.Effect.Success<ReturnType<typeof startServed>>, "run" | "servers">,
  lost = "Old"
) {
  const { external: { app: external }, replit: { app: replit } } = servers
  if ((yield* replit.rows(perfis)).length === 0) {
    yield* replit.insert(perfis, profile("ana", "Ana"))
    yield* run
  }
  yield* replit.update(perfis, ["ana"], { nome: lost, updated_at: "2999-01-02 00:00:00+00" })
  yield* external.update(perfis, ["ana"], { nome: "New", updated_at: "2999-01-03 00:00:00+00" })
  yield* run
})

/** What the first events say. */
const firstEvents = (url: string, count: number) =>
  Effect.async<ReadonlyArray<{ readonly version: string }>>((resume) => {
    const request = Http.get(url, { agent: false }, (response) => {
      let body = ""
      response.setEncoding("utf8").on("data", (text: string) => {
        body += text
        const events = body.split("\n\n").slice(0, -1).filter((event) => event.startsWith("data: "))
        if (events.length < count) return
        request.destroy()
        resume(Effect.succeed(events.slice(0, count).map((event) => JSON.parse(event.slice(6)))))
      })
    })
    request.on("error", () => request.destroy())
  })

interface Answered {
  readonly status: number
  readonly headers: Http.IncomingHttpHeaders
  readonly body: string
}

/** A request by hand, for what no client sends. */
const ask = (url: string, options: Http.RequestOptions = {}, payload = "") =>
  Effect.async<Answered>((resume) => {
    const request = Http.request(url, { agent: false, ...options }, (response) => {
      let body = ""
      response.setEncoding("utf8").on("data", (text: string) => body += text)
      response.on(
        "end",
        () => resume(Effect.succeed({ status: response.statusCode!, headers: response.headers, body }))
      )
    })
    request.on("error", (error) => resume(Effect.die(error)))
    request.end(payload)
  })

/** Returns when something waits for the test's clock. */
const sleeping = Effect.repeat(Effect.zipRight(Effect.yieldNow(), TestClock.sleeps()), { until: Chunk.isNonEmpty })

describe("the HTTP server", () => {
  it.scopedLive("says that it is alive, and that it is ready once a cycle got through", () =>
    Effect.gen(function*() {
      const { client, run } = yield* start()
      const { health, ready } = (yield* client()).watching
      assert.deepStrictEqual(yield* health({}), { status: "alive" })
      const early = yield* Effect.flip(ready({}))
      assert.strictEqual(early._tag, "NotReady")
      assert.include(early, { ready: false, role: null, lastCycleAgeMs: null, reason: "The first cycle is under way." })
      yield* run
      assert.include(yield* ready({}), { ready: true, role: "active", reason: "Cycles get through." })
    }))

  it.scopedLive("tells measures that a strict reader takes, of tables named as they like", () =>
    Effect.gen(function*() {
      const odd = { ...perfisTable, name: { schema: "public", name: "a \"b\"\\\nc" } }
      const { client, run, servers } = yield* start({}, [perfisTable, odd])
      const { metrics } = (yield* client()).measures
      yield* servers.replit.app.insert(perfis, profile("ana", "Ana"))
      yield* run
      yield* servers.external.app.insert(odd.name, profile("bia", "Bia"))
      yield* servers.external.app.insert(perfis, profile("caio", "Caio"))
      const families = parseExposition(yield* metrics({}))
      const samples = (name: string) => families.find((family) => family.name === name)?.samples ?? []
      const of = (name: string, labels: Readonly<Record<string, string>> = {}) =>
        samples(name).find((it) => Object.entries(labels).every(([label, value]) => it.labels[label] === value))?.value
      assert.strictEqual(of("vaivem_info", { version: "1.2.3" }), 1)
      assert.strictEqual(of("vaivem_table_rows", { table: "perfis", side: "external" }), 1)
      assert.strictEqual(of("vaivem_pending_rows", { table: "perfis", from: "replit" }), 0)
      assert.strictEqual(of("vaivem_database_up", { side: "external" }), 1)
      assert.isAtLeast(of("vaivem_rows_total", { from: "replit", operation: "inserted" })!, 1)
      assert.isAtLeast(of("vaivem_cycles_total", { outcome: "moved" })!, 1)
      assert.isBelow(of("vaivem_lag_seconds", { from: "external" })!, 20)
      const names = new Set(samples("vaivem_table_rows").map(({ labels }) => labels["table"]))
      assert.deepStrictEqual([...names], ["perfis", "\"a \"\"b\"\"\\\nc\""])
      for (const { name } of families) {
        assert.match(name, /_(seconds|rows|total|conflicts|up|running|failures|waits|info)$/)
      }
    }))

  it.scopedLive("asks no database for whoever asks it", () =>
    Effect.gen(function*() {
      const { layer, servers } = yield* makePair()
      const asked = yield* Ref.make(0)
      const counting = <A extends object>(database: A): A =>
        new Proxy(database, {
          get: (target, name) => {
            const value: unknown = Reflect.get(target, name)
            const counted = (asking: unknown) =>
              Effect.isEffect(asking)
                ? Effect.zipRight(Ref.update(asked, (n) => n + 1), asking as Effect.Effect<unknown>)
                : asking
            if (name === "traffic") return value
            return typeof value === "function" && !Effect.isEffect(value)
              ? (...args: ReadonlyArray<unknown>) => counted(Reflect.apply(value, target, args))
              : counted(value)
          }
        })
      const observer = yield* makeObserver
      const watched = layer({}, {
        replit: counting(servers.replit.connect()),
        external: counting(servers.external.connect())
      })
      const url = yield* serve({ host: "127.0.0.1", port: 0, token: null }, "1.2.3").pipe(
        Effect.provideService(Observer, observer),
        Effect.provide(watched)
      )
      const cycle = observer.watch(yield* makeCycle)
      yield* cycle({ retryFor: 0, lease: "wait", notBefore: 0 }).pipe(
        Effect.tap(observer.look),
        Effect.provide(watched),
        quietly
      )
      const before = yield* Ref.get(asked)
      assert.isAbove(before, 0)
      for (const path of ["metrics", "ready", "health", "api/status", "api/cycles", ""]) {
        assert.strictEqual((yield* ask(url + path)).status, 200)
      }
      assert.strictEqual(yield* Ref.get(asked), before)
    }))

  it.scopedLive("is ready no more when cycles fail, and says which database is down", () =>
    Effect.gen(function*() {
      const { client, observer } = yield* start()
      const down = new Unavailable({ side: "external", sqlState: null, slow: false, message: "External is away." })
      const failing = observer.watch(() => Effect.fail(down))({ retryFor: 0, lease: "skip", notBefore: 0 })
      const { layer } = yield* makePair()
      yield* Effect.exit(Effect.provide(failing, layer()))
      const { measures: { metrics }, watching: { ready } } = yield* client()
      assert.strictEqual((yield* Effect.flip(ready({})))._tag, "NotReady")
      const text = yield* metrics({})
      assert.include(text, "vaivem_database_up{side=\"external\"} 0\n")
      assert.notInclude(text, "vaivem_database_up{side=\"replit\"}")
      assert.include(text, "vaivem_cycle_failures 1\n")
    }))

  it.scopedLive("says what it doesn't know, and sends what a browser needs to be careful", () =>
    Effect.gen(function*() {
      const { url } = yield* start()
      const missing = yield* ask(`${url}nada`)
      assert.strictEqual(missing.status, 404)
      for (const { headers } of [missing, yield* ask(`${url}health`)]) {
        assert.match(String(headers["content-security-policy"]), /^default-src 'none'; script-src 'self';/)
        assert.strictEqual(headers["x-content-type-options"], "nosniff")
        assert.strictEqual(headers["cache-control"], "no-store")
      }
    }))

  it.scopedLive("answers under this machine's own names only, where no token is set", () =>
    Effect.gen(function*() {
      const { url } = yield* start()
      for (const host of ["localhost", "127.0.0.1:99", "[::1]:80"]) {
        assert.strictEqual((yield* ask(`${url}metrics`, { headers: { host } })).status, 200, host)
      }
      for (const host of ["example.com", "127.0.0.1.example.com", "example.com:80", "localhost.example.com"]) {
        assert.strictEqual((yield* ask(`${url}metrics`, { headers: { host } })).status, 421, host)
      }
    }))

  it.scopedLive("takes what changes something from the page itself only, and says what it can't read", () =>
    Effect.gen(function*() {
      const { url } = yield* start({ token: Redacted.make(token) })
      const begin = (headers: Http.OutgoingHttpHeaders, body = JSON.stringify({ token })) =>
        Effect.map(
          ask(
            `${url}api/session`,
            { method: "POST", headers: { "content-type": "application/json", ...headers } },
            body
          ),
          ({ headers, status }) => [status, headers["set-cookie"]?.length ?? 0]
        )
      const own = new URL(url).origin
      assert.deepStrictEqual(yield* begin({}), [204, 1])
      assert.deepStrictEqual(yield* begin({ "origin": own, "sec-fetch-site": "same-origin" }), [204, 1])
      assert.deepStrictEqual(yield* begin({ origin: "https://example.com" }), [403, 0])
      assert.deepStrictEqual(yield* begin({ "sec-fetch-site": "cross-site" }), [403, 0])
      assert.deepStrictEqual(yield* begin({ "content-type": "text/plain" }), [403, 0])
      assert.deepStrictEqual(yield* begin({}, "{\"token\":"), [400, 0])
      assert.deepStrictEqual(yield* begin({}, "{}"), [400, 0])
      const [first] = (yield* ask(
        `${url}api/session`,
        { method: "POST", headers: { "content-type": "application/json" } },
        JSON.stringify({ token })
      )).headers["set-cookie"] ?? []
      const cookie = first!.split(";")[0]!
      assert.strictEqual((yield* ask(`${url}metrics`, { headers: { cookie } })).status, 200)
      assert.strictEqual((yield* ask(`${url}api/session`, { method: "DELETE", headers: { cookie } })).status, 204)
      assert.strictEqual((yield* ask(`${url}metrics`, { headers: { cookie } })).status, 401)
    }))

  it.scopedLive("tells the page how things stand, and again when that changes", () =>
    Effect.gen(function*() {
      const { client, run, servers, url } = yield* start()
      const { cycles, status } = (yield* client()).dashboard
      const before = yield* status({})
      assert.deepStrictEqual([before.cycle.last, before.lookedAtMs, before.tables], [null, null, []])
      const events = yield* Effect.fork(firstEvents(`${url}api/events`, 2))
      yield* servers.replit.app.insert(perfis, profile("ana", "Ana"))
      yield* run
      const after = yield* status({})
      assert.deepStrictEqual(after.tables.map(({ rows, table }) => [table, rows]), [
        ["perfis", { replit: 1, external: 1 }]
      ])
      assert.isNotNull(after.tables[0]!.movedAtMs)
      assert.deepStrictEqual((yield* cycles({})).map(({ outcome, push }) => [outcome, push.inserted]), [["moved", 1]])
      // Whoever came late is told with the next change.
      yield* Effect.fork(Effect.forever(Effect.delay(run, "50 millis")))
      assert.deepStrictEqual((yield* Fiber.join(events)).map(({ version }) => version), ["1.2.3", "1.2.3"])
    }))

  it.scopedLive("lets held changes through, or brings the rows back, and asks for a cycle", () =>
    Effect.gen(function*() {
      const { client, observer, run, servers } = yield* start({}, [perfisTable], { brake: { rows: 0, percent: 0 } })
      const { approve, reject, sync } = (yield* client()).actions
      for (const id of ["ana", "bia"]) yield* servers.replit.app.insert(perfis, profile(id, id))
      yield* run
      yield* servers.replit.app.remove(perfis, ["ana"])
      assert.match((yield* run).paused[0]?.problem ?? "", /^perfis is held/)
      yield* reject({ payload: { table: "perfis" } })
      yield* observer.hurried
      yield* run
      assert.lengthOf(yield* servers.replit.app.rows(perfis), 2)
      yield* servers.replit.app.remove(perfis, ["bia"])
      yield* run
      yield* approve({ payload: { table: "perfis" } })
      yield* observer.hurried
      yield* run
      assert.lengthOf(yield* servers.external.app.rows(perfis), 1)
      const again = yield* Effect.flip(approve({ payload: { table: "perfis" } }))
      assert.deepStrictEqual([again._tag, again.message.slice(0, 36)], [
        "NotDone",
        "perfis is not held by the brake. No "
      ])
      assert.strictEqual((yield* Effect.flip(reject({ payload: { table: "a b" } })))._tag, "NotDone")
      yield* sync({ payload: {} })
      yield* sync({ payload: {} })
      yield* observer.hurried
      assert.isTrue((yield* Effect.timeoutOption(observer.hurried, "20 millis"))._tag === "None")
    }))

  it.scopedLive("pauses and resumes a table or all of them, says why tables wait, and asks for a cycle", () =>
    Effect.gen(function*() {
      const { client, observer, run, servers } = yield* start()
      const { actions: { pause, resume }, dashboard: { status }, measures: { metrics } } = yield* client()
      yield* run
      yield* pause({ payload: { table: "perfis" } })
      yield* observer.hurried
      yield* servers.replit.app.insert(perfis, profile("ana", "Ana"))
      yield* run
      assert.lengthOf(yield* servers.external.app.rows(perfis), 0)
      const one = yield* status({})
      assert.deepInclude(one.tables[0]?.waits, { why: "by-hand" })
      assert.isFalse(one.allPaused)
      assert.include(yield* metrics({}), "vaivem_table_waits{table=\"perfis\",why=\"by-hand\"} 1\n")
      yield* pause({ payload: { table: null } })
      yield* run
      assert.isTrue((yield* status({})).allPaused)
      assert.strictEqual((yield* Effect.flip(resume({ payload: { table: "perfis" } })))._tag, "NotDone")
      yield* resume({ payload: { table: null } })
      yield* run
      assert.lengthOf(yield* servers.external.app.rows(perfis), 1)
      assert.isNull((yield* status({})).tables[0]!.waits)
    }))

  it.scopedLive("shows anybody's values only where a token is set, and then not those that are hidden", () =>
    Effect.gen(function*() {
      const settings = { hidden: [{ table: perfis, column: "nome" }] }
      const closed = yield* start({ token: Redacted.make(token) }, [perfisTable], settings)
      const open = yield* start({}, [perfisTable], settings)
      for (const { run, servers } of [closed, open]) {
        yield* contest({ run, servers })
        yield* servers.replit.app.insert(perfis, { ...profile("bia", "Bia"), email: "caio@exemplo.pt" })
        yield* servers.external.app.insert(perfis, profile("caio", "Caio"))
        yield* run
      }
      for (const path of ["api/conflicts", "api/quarantine"]) {
        assert.strictEqual((yield* ask(closed.url + path)).status, 401)
        const shown = yield* ask(closed.url + path, { headers: { authorization: `Bearer ${token}` } })
        assert.match(shown.body, /"values":true.*(ana|bia)/)
        assert.notMatch(shown.body, /Old|New|Bia/)
        const masked = yield* ask(open.url + path)
        assert.strictEqual(masked.status, 200)
        assert.match(masked.body, /"values":false.*\(hidden\)/)
        assert.notMatch(masked.body, /Old|New|ana|bia|caio|exemplo/)
      }
      const { edit } = (yield* open.client()).records
      const [conflict] = (yield* (yield* open.client()).records.conflicts({})).undecided
      const refused = yield* Effect.flip(edit({ payload: { id: conflict!.id, changes: { email: "x" } } }))
      assert.match(refused.message, /only where SYNC_HTTP_TOKEN is set/)
    }))

  it.scopedLive("restores, edits and keeps conflicts, as commands do, and counts those that nobody decided", () =>
    Effect.gen(function*() {
      const { client, observer, run, servers } = yield* start({ token: Redacted.make(token) })
      const { dashboard: { status }, records: { conflicts, edit, keep, restore } } = yield* client(token)
      yield* contest({ run, servers })
      const undecided = Effect.map(status({}), ({ tables }) => tables[0]!.conflicts)
      assert.deepStrictEqual(yield* undecided, { replit: 1, external: 0 })
      const [first] = (yield* conflicts({})).undecided
      assert.deepInclude(first!, { key: ["ana"], lostSide: "replit", loser: "row", winner: "row" })
      assert.deepStrictEqual(first!.fields.find(({ column }) => column === "nome"), {
        column: "nome",
        lost: "Old",
        won: "New",
        differs: true,
        editable: true
      })
      assert.isFalse(first!.fields.find(({ column }) => column === "id")!.editable)
      const nomes = Effect.map(servers.external.app.rows(perfis), (rows) => rows.map(({ nome }) => nome))
      yield* edit({ payload: { id: first!.id, changes: { nome: "Both" } } })
      yield* observer.hurried
      yield* run
      assert.deepStrictEqual([yield* nomes, yield* undecided], [["Both"], { replit: 0, external: 0 }])
      const { decided: [undo] } = yield* conflicts({})
      yield* restore({ payload: { id: undo!.id } })
      yield* run
      assert.deepStrictEqual(yield* nomes, ["New"])
      yield* contest({ run, servers })
      const [second] = (yield* conflicts({})).undecided
      yield* keep({ payload: { id: second!.id } })
      yield* run
      assert.deepStrictEqual(yield* undecided, { replit: 0, external: 0 })
      assert.strictEqual((yield* Effect.flip(keep({ payload: { id: "%" } })))._tag, "NotDone")
    }))

  it.scopedLive("cuts long values, which can't be edited then", () =>
    Effect.gen(function*() {
      const { client, run, servers } = yield* start({ token: Redacted.make(token) })
      yield* contest({ run, servers }, "x".repeat(1_001))
      const [{ fields }] = (yield* (yield* client(token)).records.conflicts({})).undecided as [typeof ConflictView.Type]
      const nome = fields.find(({ column }) => column === "nome")!
      assert.deepStrictEqual([nome.lost?.length, nome.editable], [1_001, false])
      assert.match(nome.lost!, /x…$/)
    }))

  it.scopedLive("retries and discards what is in quarantine", () =>
    Effect.gen(function*() {
      const { client, observer, run, servers } = yield* start({ token: Redacted.make(token) })
      const { discard, quarantine, retry } = (yield* client(token)).records
      yield* run
      yield* servers.replit.app.insert(perfis, { ...profile("bia", "Bia"), email: "caio@exemplo.pt" })
      yield* servers.external.app.insert(perfis, profile("caio", "Caio"))
      yield* run
      const { all, entries } = yield* quarantine({})
      assert.strictEqual(all, 2)
      const bia = entries.find(({ from }) => from === "replit")!
      assert.deepInclude(bia, { table: "perfis", key: ["bia"], sqlState: "23505", blockedBy: ["caio"] })
      yield* retry({ payload: { id: null } })
      yield* observer.hurried
      yield* discard({ payload: { id: bia.id } })
      yield* run
      assert.deepStrictEqual((yield* quarantine({})).entries, [])
      assert.deepStrictEqual((yield* servers.replit.app.rows(perfis)).map(({ nome }) => nome), ["Caio"])
    }))

  it.scopedLive("lets nobody act without the token where one is set, nor from another page", () =>
    Effect.gen(function*() {
      const closed = yield* start({ token: Redacted.make(token) })
      const open = yield* start()
      const headers = { "content-type": "application/json" }
      const posted = (url: string, path: string, more: Http.OutgoingHttpHeaders = {}) =>
        Effect.map(
          ask(`${url}api/${path}`, { method: "POST", headers: { ...headers, ...more } }, "{\"table\":\"perfis\"}"),
          ({ status }) => status
        )
      const actions = ["sync", "approve", "reject", "pause", "resume", "conflicts/keep", "conflicts/restore"]
      for (const path of [...actions, "conflicts/edit", "quarantine/retry", "quarantine/discard"]) {
        assert.strictEqual(yield* posted(closed.url, path), 401)
        assert.strictEqual(yield* posted(open.url, path, { origin: "https://example.com" }), 403)
        assert.strictEqual(yield* posted(open.url, path, { "content-type": "text/plain" }), 403)
      }
    }))

  it.scopedLive("wants the token where one is set, but not to say that it is alive", () =>
    Effect.gen(function*() {
      const { client, url } = yield* start({ token: Redacted.make(token) })
      assert.strictEqual((yield* Effect.flip((yield* client()).measures.metrics({})))._tag, "Unauthorized")
      assert.strictEqual((yield* Effect.flip((yield* client(`${token}x`)).measures.metrics({})))._tag, "Unauthorized")
      assert.include(yield* (yield* client(token)).measures.metrics({}), "vaivem_info")
      assert.deepStrictEqual(yield* (yield* client()).watching.health({}), { status: "alive" })
      assert.strictEqual((yield* ask(`${url}metrics`, { headers: { host: "example.com" } })).status, 401)
    }))

  it.scopedLive("looks at no token of an address that showed ten wrong ones", () =>
    Effect.gen(function*() {
      const { client } = yield* start({ token: Redacted.make(token) })
      for (let n = 0; n < 10; n++) {
        assert.strictEqual(
          (yield* Effect.flip((yield* client(`errado-${n}`)).measures.metrics({})))._tag,
          "Unauthorized"
        )
      }
      const error = yield* Effect.flip((yield* client(token)).measures.metrics({}))
      assert.strictEqual(error._tag, "TooManyFailures")
      assert.deepStrictEqual(yield* (yield* client()).watching.health({}), { status: "alive" })
    }))

  it.scoped("waits for a port that somebody has", () =>
    Effect.gen(function*() {
      const taken = yield* Scope.make()
      const first = yield* start().pipe(Effect.provideService(Scope.Scope, taken))
      const second = yield* Effect.fork(start({ port: Number(new URL(first.url).port) }))
      yield* sleeping
      yield* Scope.close(taken, Exit.void)
      yield* TestClock.adjust("500 millis")
      assert.strictEqual((yield* Fiber.join(second)).url, first.url)
    }))

  it.scoped("says so when the port stays taken, longer than a copy takes that is being stopped", () =>
    Effect.gen(function*() {
      const first = yield* start()
      const second = yield* Effect.fork(start({ port: Number(new URL(first.url).port) }))
      for (let n = 0; n < 20; n++) yield* Effect.zipRight(sleeping, TestClock.adjust("500 millis"))
      assert.isTrue((yield* Fiber.poll(second))._tag === "None")
      yield* Effect.forkScoped(Effect.forever(Effect.zipRight(sleeping, TestClock.adjust("500 millis"))))
      const error = yield* Effect.flip(Fiber.join(second))
      assert.strictEqual(error._tag, "WorldRefused")
      assert.match(error.message, /^SYNC_HTTP_PORT: port \d+ of 127\.0\.0\.1 is in use by another program/)
    }))

  it.scopedLive("refuses an address that isn't this machine's, with a sentence", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(start({ host: "192.0.2.1", token: Redacted.make(token) }))
      assert.strictEqual(error._tag, "ActionNeeded")
      assert.include(error.message, "SYNC_HTTP_HOST: 192.0.2.1 is no address of this machine")
    }))

  it.live("ends at once, whoever is connected", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const { url } = yield* start().pipe(Effect.provideService(Scope.Scope, scope))
      const [opened, cut] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const agent = new Http.Agent({ keepAlive: true })
      const request = Http.request(`${url}health`, { agent, method: "POST" })
      request.on("socket", (socket) => socket.on("connect", () => Deferred.unsafeDone(opened, Effect.void)))
      request.on("error", () => Deferred.unsafeDone(cut, Effect.void))
      // Half a request: its server would wait for the rest.
      request.write("x")
      yield* Deferred.await(opened)
      yield* Scope.close(scope, Exit.void).pipe(Effect.timeoutFail({ duration: "2 seconds", onTimeout: () => "late" }))
      yield* Deferred.await(cut)
    }))
})
