/**
 * `npm run walk [-- --folder DIR]`: what somebody does who has never seen it. The built program syncs two servers, and a browser
 * shows its page; then a conflict is made, a bad row written, a database stopped and everything deleted. Each time the page,
 * the command line and in the end the log must tell the same story. Leaves a screenshot of each state in the folder
 * (`screenshots` by default). Exits 1 where the stories differ, and 2 when no walk could be made.
 */
import { NodeContext, NodeRuntime } from "@effect/platform-node"
import { Cause, Console, Data, Effect, Redacted, Schedule } from "effect"
import * as Fs from "node:fs/promises"
import * as Path from "node:path"
import { parseArgs } from "node:util"
import { type Side, sides } from "../../src/domain/Side.ts"
import { browser, doing } from "../support/Browser.ts"
import { freePort, run, settings, start } from "../support/Program.ts"
import { query } from "../support/TestClient.ts"
import { freshServer } from "../support/TestServer.ts"

class WalkError extends Data.TaggedError("WalkError")<{ readonly message: string; readonly code: 1 | 2 }> {}

const must = (condition: boolean, message: string) => condition ? Effect.void : new WalkError({ message, code: 1 })

const token = "uma-visita-guiada-1234"

const perfis = `create table perfis (id text primary key, nome text, email text, updated_at timestamptz default now());`

const people = `insert into perfis (id, nome, email) select 'p' || n, 'Pessoa ' || n, 'p' || n || '@exemplo.pt'
  from generate_series(1, 40) n`

const walk = Effect.gen(function*() {
  const { values } = parseArgs({ options: { folder: { type: "string", default: "screenshots" } } })
  const folder = Path.resolve(values.folder)
  yield* Effect.promise(() => Fs.mkdir(folder, { recursive: true }))
  const chromium = yield* browser
  if (chromium === null) return yield* new WalkError({ message: "There is no Chromium to look with.", code: 2 })

  const servers = yield* Effect.all({ replit: freshServer(), external: freshServer() }, { concurrency: 2 })
  const urls = yield* Effect.all({ replit: ownedBy(servers.replit), external: ownedBy(servers.external) })
  const app = (side: Side, text: string) => query(urls[side], text)
  for (const side of sides) yield* app(side, perfis)
  yield* app("external", "alter table perfis add constraint perfis_email check (email like '%@%')")
  yield* app("replit", people)

  const port = yield* freePort
  const env = {
    ...settings(urls),
    SYNC_INTERVAL: "1 second",
    SYNC_BRAKE: "5 rows, 20 %",
    SYNC_HTTP_PORT: String(port),
    SYNC_HTTP_TOKEN: token
  }
  const service = yield* start([], { env })
  yield* service.says(/http:\/\/127\.0\.0\.1:\d+/)
  yield* Console.log(`The service runs; its page is http://127.0.0.1:${port}`)

  const page = yield* doing(async () => {
    const context = await chromium.newContext({ viewport: { width: 1280, height: 900 }, locale: "en-GB" })
    const page = await context.newPage()
    page.on("dialog", (dialog) => void dialog.accept())
    await page.goto(`http://127.0.0.1:${port}`)
    await page.locator("#token").fill(token)
    await page.keyboard.press("Enter")
    return page
  })
  const says = (what: string) => doing(() => page.locator("#headline", { hasText: what }).waitFor({ timeout: 60_000 }))
  const press = (name: string, within = "body") =>
    doing(() => page.locator(within).getByRole("button", { name, exact: true }).first().click())
  let shots = 0
  const shoot = (name: string) =>
    doing(() => page.screenshot({ path: Path.join(folder, `${++shots}-${name}.png`), fullPage: true }))
  /** What a command prints, in which `what` must stand. */
  const command = Effect.fnUntraced(function*(code: number, what: RegExp, ...args: ReadonlyArray<string>) {
    const ended = yield* run(args, { env })
    const said = ended.out + ended.err
    yield* must(ended.code === code && what.test(said), `${args.join(" ")} ended with ${ended.code} and said:\n${said}`)
  })
  const told = (what: string) => Console.log(`- ${what}`)

  yield* says("✓ Nothing is on its way")
  yield* command(0, /perfis: equal, 40 rows on both sides/, "verify")
  yield* shoot("equal")
  yield* told("Two databases are equal: the page says so, and verify proves it.")

  yield* press("Pause everything")
  yield* says("everything is paused")
  yield* app("replit", "update perfis set nome = 'Pessoa de dentro', updated_at = now() where id = 'p1'")
  yield* app(
    "external",
    "update perfis set nome = 'Pessoa de fora', updated_at = now() + interval '1 s' where id = 'p1'"
  )
  yield* command(0, /All tables are paused|everything|All tables/, "status")
  yield* shoot("paused")
  yield* press("Resume everything")
  yield* says("✓ Nothing is on its way")
  yield* command(0, /perfis.*Replit.*conflict/, "conflicts", "list", "--undecided")
  yield* press("Look at them", "#conflicts")
  yield* doing(() => page.locator("#conflicts-list > article", { hasText: "Pessoa de dentro" }).waitFor())
  yield* shoot("conflict")
  yield* press("Bring back what lost", "#conflicts-list > article")
  yield* until(
    Effect.map(
      app("external", "select nome from perfis where id = 'p1'"),
      ([row]) => row?.["nome"] === "Pessoa de dentro"
    ),
    "What lost the conflict did not come back."
  )
  yield* says("✓ Nothing is on its way")
  yield* told("A conflict: the loser is on the page and in `conflicts list`, and came back from there.")

  yield* app("replit", "insert into perfis (id, nome, email) values ('ruim', 'Sem arroba', 'exemplo.pt')")
  yield* says("1 in quarantine")
  yield* command(0, /perfis, key ruim, from Replit[^]*perfis_email/, "quarantine", "list")
  yield* press("Look at them", "#quarantine")
  yield* doing(() => page.locator("#quarantine-list article", { hasText: "perfis_email" }).waitFor())
  yield* shoot("quarantine")
  yield* app("replit", "update perfis set email = 'arroba@exemplo.pt' where id = 'ruim'")
  yield* says("✓ Nothing is on its way")
  yield* doing(() => page.locator("#quarantine-list article").waitFor({ state: "detached" }))
  yield* told("A bad row: page and `quarantine list` say which constraint refuses it; mended, it arrived.")

  yield* servers.external.stop("immediate")
  yield* says("✕ external can't be used")
  yield* command(1, /external/, "status")
  yield* shoot("stopped")
  yield* servers.external.start
  yield* says("✓ Nothing is on its way")
  yield* told("A database was stopped: the page and `status` say which one; it goes on when that is back.")

  yield* app("external", "delete from perfis")
  yield* says("perfis is held")
  yield* command(0, /perfis is held|held/, "status")
  yield* shoot("held")
  yield* command(3, /waiting for you: perfis held/, "--once")
  yield* press("Bring the rows back: perfis")
  yield* says("✓ Nothing is on its way")
  yield* until(
    Effect.map(app("external", "select count(*) as n from perfis"), ([row]) => Number(row?.["n"]) === 41),
    "The rows did not come back."
  )
  yield* command(0, /perfis: equal, 41 rows on both sides/, "verify")
  yield* shoot("back")
  yield* told("Everything was deleted on one side: it was held, and came back from the page.")

  yield* service.signal("SIGTERM")
  const { code, err } = yield* service.ended
  yield* must(code === 0, `The service ended with ${code}.`)
  for (const event of ["Table paused", "Rows in quarantine", "Cycle failed", "Table held", "Stopped"]) {
    yield* must(err.includes(event), `The log doesn't say "${event}":\n${err}`)
  }
  yield* told(`The log tells the same. Screenshots are in ${folder}.`)
})

/** A database of an ordinary role. */
const ownedBy = (server: Effect.Effect.Success<ReturnType<typeof freshServer>>) =>
  Effect.gen(function*() {
    yield* query(server.url(), "create role dona login password 'x'")
    yield* query(server.url(), "create database app owner dona")
    const url = new URL(Redacted.value(server.url("app")))
    return Redacted.make(Object.assign(url, { username: "dona", password: "x" }).href)
  })

const until = <E, R>(done: Effect.Effect<boolean, E, R>, message: string) =>
  Effect.repeat(done, { until: (it) => it, schedule: Schedule.spaced("100 millis") }).pipe(
    Effect.timeoutFail({ duration: "60 seconds", onTimeout: () => new WalkError({ message, code: 1 }) })
  )

walk.pipe(
  Effect.scoped,
  Effect.catchAllCause((cause) => {
    const error = cause._tag === "Fail" ? cause.error : null
    return Effect.zipRight(
      Console.error(error instanceof WalkError ? error.message : Cause.pretty(cause)),
      Effect.sync(() => void (process.exitCode = error instanceof WalkError ? error.code : 2))
    )
  }),
  Effect.provide(NodeContext.layer),
  NodeRuntime.runMain({ disableErrorReporting: true })
)
