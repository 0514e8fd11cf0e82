/** The page in a real browser: what it says, in which language and width, and whether everybody can read it. */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Redacted } from "effect"
import * as Fs from "node:fs"
import { createRequire } from "node:module"
import type { BrowserContextOptions } from "playwright-core"
import { Unavailable } from "../../src/domain/SyncError.ts"
import { browser, doing } from "../support/Browser.ts"
import { makePair, perfis, profile } from "../support/MemoryPair.ts"
import { startServed } from "../support/Served.ts"
import { endpoints, watchPage } from "../support/watchPage.ts"

const axe = Fs.readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8")

const token = Redacted.make("um-segredo-de-teste-1234")

const english = {
  equal: "✓ Nothing is on its way",
  look: "Look at them",
  keep: "Keep as it is",
  restore: "Bring back what lost",
  edit: "Edit field by field",
  write: "Write it",
  undo: "Undo: bring this back"
}
const portuguese: typeof english = {
  equal: "✓ Nada está a caminho",
  look: "Ver",
  keep: "Deixar como está",
  restore: "Trazer de volta a que perdeu",
  edit: "Editar campo por campo",
  write: "Gravar",
  undo: "Desfazer: trazer esta de volta"
}

/** Opens the page; what the browser complains about is collected. Nothing without a browser. */
const opened = Effect.fnUntraced(function*(url: string, options: BrowserContextOptions = {}) {
  const started = yield* browser
  if (started === null) return null
  const context = yield* doing(() => started.newContext({ viewport: { width: 1440, height: 900 }, ...options }))
  // Playwright's own 30 s were not enough for the first page on a busy machine.
  context.setDefaultTimeout(90_000)
  const page = yield* doing(() => context.newPage())
  const complaints: Array<string> = []
  page.on("console", (message) => {
    if (message.type() === "error") complaints.push(message.text())
  })
  page.on("pageerror", (error) => complaints.push(error.message))
  yield* doing(() => watchPage(context, (problem) => complaints.push(problem)))
  yield* doing(() => page.goto(url))
  const says = (what: string) => doing(() => page.locator("#headline", { hasText: what }).waitFor({ timeout: 30_000 }))
  const seen = doing(() => page.locator("body").innerText())
  /** Rules of WCAG that the page breaks. */
  const violations = Effect.gen(function*() {
    yield* doing(() => page.evaluate(axe))
    const broken = yield* doing(() =>
      page.evaluate("axe.run().then(({ violations }) => violations.map(({ id, nodes }) => id + ': ' + nodes[0].html))")
    )
    return broken
  })
  const shoot = (name: string) =>
    Effect.suspend(() => {
      const folder = process.env["SCREENSHOTS"]
      return folder === undefined
        ? Effect.void
        : doing(() => page.screenshot({ path: `${folder}/${name}.png`, fullPage: true }))
    })
  /** Focuses the button that is called so, and presses Enter. */
  const press = (name: string, within = "body") =>
    doing(async () => {
      const button = page.locator(within).getByRole("button", { name, exact: true }).first()
      await button.focus()
      await page.keyboard.press("Enter")
    })
  const logIn = doing(async () => {
    await page.locator("#token:focus").waitFor()
    await page.keyboard.type(Redacted.value(token))
    await page.keyboard.press("Enter")
  })
  return { page, says, seen, complaints, violations, shoot, press, logIn }
})

describe("the page", () => {
  it("has a use for everything that the Api answers under /api, and for logging in", () => {
    const folder = new URL("../../src/http/page/", import.meta.url)
    const scripts = Fs.readdirSync(folder).filter((name) => name.endsWith(".js"))
      .map((name) => Fs.readFileSync(new URL(name, folder), "utf8")).join("\n")
    const unused = endpoints.filter(({ path }) =>
      !scripts.includes(`"${path.slice(1)}"`) && !scripts.includes(`"${path.slice("/api/".length)}"`)
    )
    assert.deepStrictEqual(unused, [])
  })

  it.scopedLive("shows both databases, tables and cycles, and changes by itself", () =>
    Effect.gen(function*() {
      const { run, servers, url } = yield* startServed()
      yield* servers.replit.app.insert(perfis, profile("ana", "Ana"))
      const open = yield* opened(url, { locale: "en-GB" })
      if (open === null) return
      const { complaints, page, says, seen, shoot, violations } = open
      yield* says("… The first cycle is under way")
      yield* run
      yield* says("✓ Nothing is on its way")
      yield* doing(() => page.locator("#cycles tbody tr").waitFor())
      yield* servers.external.app.insert(perfis, profile("bia", "Bia"))
      yield* run
      yield* doing(() => page.locator("#cycles tbody tr").nth(1).waitFor())
      // Rows are counted after the cycle that is shown.
      yield* doing(() => page.locator("#tables tbody td").first().filter({ hasText: /^2$/ }).waitFor())
      const text = yield* seen
      for (const part of ["Reachable", "Round trip", "Proven equal", "perfis", "as ours", "vaivem 1.2.3"]) {
        assert.include(text, part)
      }
      assert.isAbove(yield* doing(() => page.locator("#chart canvas").evaluate((it) => it.clientWidth)), 500)
      assert.deepStrictEqual(yield* violations, [])
      yield* shoot("wide-light-en")
      assert.deepStrictEqual(complaints, [])
    }))

  it.scopedLive("speaks Portuguese to whoever does, and fits a phone in the dark", () =>
    Effect.gen(function*() {
      const { observer, run, servers, url } = yield* startServed()
      yield* run
      yield* servers.replit.app.insert(perfis, { ...profile("ana", "Ana"), email: "bia@exemplo.pt" })
      yield* servers.external.app.insert(perfis, profile("bia", "Bia"))
      yield* run
      yield* observer.resting((yield* Clock.currentTimeMillis) + 250_000)
      const phone = { viewport: { width: 360, height: 740 }, colorScheme: "dark", locale: "pt-BR" } as const
      const open = yield* opened(url, phone)
      if (open === null) return
      const { complaints, page, says, seen, shoot, violations } = open
      yield* says("! Esperando por você: 2 em quarentena")
      const text = yield* seen
      for (const part of ["Bancos de dados", "Próximo ciclo", "em 4 min", "Quarentena", "→ 1, ← 1"]) {
        assert.include(text, part)
      }
      assert.strictEqual(yield* doing(() => page.locator("html").getAttribute("lang")), "pt")
      assert.isAtMost(yield* doing(() => page.locator("html").evaluate((it) => it.scrollWidth)), 360)
      assert.deepStrictEqual(yield* violations, [])
      yield* shoot("phone-dark-pt")
      assert.deepStrictEqual(complaints, [])
    }))

  it.scopedLive("says which database can't be used and why, and takes nobody's text for markup", () =>
    Effect.gen(function*() {
      const { observer, run, url } = yield* startServed()
      yield* run
      const open = yield* opened(url, { locale: "fr-FR" })
      if (open === null) return
      const { page, says, shoot, violations } = open
      yield* says("✓ Nothing is on its way")
      const down = new Unavailable({
        side: "external",
        sqlState: null,
        slow: false,
        message: "<b>External</b> is away."
      })
      const { layer } = yield* makePair()
      const failing = observer.watch(() => Effect.fail(down))({ retryFor: 0, lease: "skip", notBefore: 0 })
      yield* Effect.exit(Effect.provide(failing, layer()))
      yield* says("✕ external can't be used")
      const detail = yield* doing(() => page.locator("#detail").innerText())
      assert.strictEqual(detail, "The service goes on trying: <b>External</b> is away.")
      assert.deepStrictEqual(yield* violations, [])
      yield* shoot("down")
    }))

  it.scopedLive("asks for a cycle and brings held rows back, by keyboard alone", () =>
    Effect.gen(function*() {
      const settings = { brake: { rows: 0, percent: 0 } }
      const { observer, run, servers, url } = yield* startServed({}, undefined, settings)
      yield* servers.replit.app.insert(perfis, profile("ana", "Ana"))
      yield* run
      yield* servers.replit.app.remove(perfis, ["ana"])
      yield* run
      const open = yield* opened(url, { locale: "pt-BR" })
      if (open === null) return
      const { complaints, page, says, shoot, violations } = open
      yield* says("! Esperando por você: perfis está retida")
      assert.deepStrictEqual(yield* violations, [])
      yield* shoot("held")
      page.on("dialog", (dialog) => void dialog.accept())
      yield* doing(() => page.keyboard.press("Tab"))
      yield* doing(() => page.keyboard.press("Enter"))
      yield* observer.hurried
      yield* doing(() => page.locator("#done", { hasText: "Um ciclo foi pedido." }).waitFor())
      // Past the button that pauses everything, and the one that lets the changes through.
      for (let n = 0; n < 3; n++) yield* doing(() => page.keyboard.press("Tab"))
      yield* doing(() => page.keyboard.press("Enter"))
      yield* observer.hurried
      yield* run
      yield* says("✓ Nada está a caminho")
      assert.lengthOf(yield* servers.replit.app.rows(perfis), 1)
      assert.deepStrictEqual(complaints, [])
    }))

  it.scopedLive("pauses and resumes a table and everything, by keyboard alone", () =>
    Effect.gen(function*() {
      const { observer, run, servers, url } = yield* startServed()
      yield* run
      const open = yield* opened(url, { locale: "pt-BR" })
      if (open === null) return
      const { complaints, press, says, shoot, violations } = open
      yield* says("✓ Nada está a caminho")
      yield* press("Pausar: perfis")
      yield* observer.hurried
      yield* servers.replit.app.insert(perfis, profile("ana", "Ana"))
      yield* run
      yield* says("! Esperando por você: perfis foi pausada por alguém")
      yield* shoot("paused-pt")
      assert.deepStrictEqual(yield* violations, [])
      yield* press("Pausar tudo")
      yield* observer.hurried
      yield* run
      yield* says("! Esperando por você: tudo está pausado")
      assert.lengthOf(yield* servers.external.app.rows(perfis), 0)
      yield* press("Retomar tudo")
      yield* observer.hurried
      yield* run
      yield* says("✓ Nada está a caminho")
      assert.lengthOf(yield* servers.external.app.rows(perfis), 1)
      assert.deepStrictEqual(complaints, [])
    }))

  it.scopedLive("shows what is in quarantine, tries it again, and gives it up when it is sure, on a phone", () =>
    Effect.gen(function*() {
      const { observer, run, servers, url } = yield* startServed({ token })
      yield* run
      yield* servers.replit.app.insert(perfis, { ...profile("bia", "Bia"), email: "caio@exemplo.pt" })
      yield* servers.external.app.insert(perfis, profile("caio", "Caio"))
      yield* run
      const open = yield* opened(url, { locale: "en-GB", viewport: { width: 360, height: 740 } })
      if (open === null) return
      const { complaints, page, press, logIn, says, seen, shoot, violations } = open
      yield* logIn
      yield* says("! Waiting for you: 2 in quarantine")
      yield* press("Look at them", "#quarantine")
      yield* doing(() => page.locator("#quarantine-list article").nth(1).waitFor())
      for (
        const part of [
          "perfis: bia",
          "(23505)",
          "In its way: caio on external.",
          "Changed on Replit, refused by external."
        ]
      ) {
        assert.include(yield* seen, part)
      }
      assert.isAtMost(yield* doing(() => page.locator("html").evaluate((it) => it.scrollWidth)), 360)
      assert.deepStrictEqual(yield* violations, [])
      yield* shoot("quarantine-phone-en")
      yield* press("Try again", "#quarantine")
      yield* observer.hurried
      yield* doing(() => page.locator("#done", { hasText: "Done; a cycle follows." }).waitFor())
      const bia = "#quarantine-list article:has-text('perfis: bia')"
      let asked = ""
      page.once("dialog", (dialog) => {
        asked = dialog.message()
        void dialog.dismiss()
      })
      yield* press("Give it up", bia)
      assert.match(asked, /^Give up this version of perfis: bia and take that of external\?/)
      page.once("dialog", (dialog) => void dialog.accept())
      yield* press("Give it up", bia)
      yield* observer.hurried
      yield* run
      yield* says("✓ Nothing is on its way")
      assert.deepStrictEqual((yield* servers.replit.app.rows(perfis)).map(({ nome }) => nome), ["Caio"])
      assert.deepStrictEqual(complaints.filter((line) => !line.includes("401")), [])
    }))

  it.scopedLive("has an open list follow what becomes of its rows elsewhere", () =>
    Effect.gen(function*() {
      const { run, servers, url } = yield* startServed({ token })
      yield* run
      yield* servers.replit.app.insert(perfis, { ...profile("bia", "Bia"), email: "caio@exemplo.pt" })
      yield* servers.external.app.insert(perfis, profile("caio", "Caio"))
      yield* run
      const open = yield* opened(url, { locale: "en-GB" })
      if (open === null) return
      const { logIn, page, press, says } = open
      yield* logIn
      yield* says("! Waiting for you: 2 in quarantine")
      yield* press("Look at them", "#quarantine")
      const entries = page.locator("#quarantine-list article")
      yield* doing(() => entries.nth(1).waitFor())
      yield* servers.replit.app.update(perfis, ["bia"], { email: "bia@exemplo.pt" })
      yield* run
      yield* says("✓ Nothing is on its way")
      yield* doing(() => entries.first().waitFor({ state: "detached", timeout: 30_000 }))
    }))

  for (
    const { height, locale, name, said, width } of [
      { name: "wide-en", locale: "en-GB", width: 1440, height: 900, said: english },
      { name: "phone-pt", locale: "pt-BR", width: 360, height: 740, said: portuguese }
    ]
  ) {
    it.scopedLive(`works through the conflicts, ${name}`, () =>
      Effect.gen(function*() {
        const { observer, run, servers, url } = yield* startServed({ token })
        const { external: { app: external }, replit: { app: replit } } = servers
        for (const id of ["ana", "bia", "caio"]) yield* replit.insert(perfis, profile(id, id))
        yield* run
        for (const id of ["ana", "bia", "caio"]) {
          const markup = "<b>De dentro</b>"
          yield* replit.update(perfis, [id], { nome: markup, updated_at: "2024-01-02 00:00:00+00" })
          yield* external.update(perfis, [id], { nome: "De fora", updated_at: "2024-01-03 00:00:00+00" })
        }
        yield* run
        const open = yield* opened(url, { locale, viewport: { width, height } })
        if (open === null) return
        const { complaints, logIn, page, press, says, shoot, violations } = open
        yield* logIn
        yield* says(said.equal)
        const list = page.locator("#conflicts-list > article")
        const of = (id: string) => `#conflicts-list > article:has-text('perfis: ${id}')`
        yield* press(said.look, "#conflicts")
        yield* doing(() => list.nth(2).waitFor())
        assert.strictEqual(yield* doing(() => page.locator(`${of("ana")} td`).first().innerText()), "<b>De dentro</b>")
        assert.include(yield* doing(() => page.locator(of("ana")).innerText()), "≠ nome")
        assert.isAtMost(yield* doing(() => page.locator("html").evaluate((it) => it.scrollWidth)), width)
        assert.deepStrictEqual(yield* violations, [])
        yield* shoot(`conflicts-${name}`)

        yield* press(said.keep, of("ana"))
        yield* observer.hurried
        yield* doing(() => page.locator(of("ana")).waitFor({ state: "detached" }))
        assert.strictEqual(
          yield* doing(() => page.evaluate("document.activeElement.id")),
          "conflicts-toggle"
        )

        page.once("dialog", (dialog) => void dialog.accept())
        yield* press(said.restore, of("bia"))
        yield* observer.hurried
        yield* doing(() => page.locator(of("bia")).waitFor({ state: "detached" }))

        yield* press(said.edit, of("caio"))
        const box = page.locator("#edit textarea").first()
        assert.strictEqual(yield* doing(() => box.inputValue()), "De fora")
        assert.deepStrictEqual(yield* violations, [])
        yield* shoot(`edit-${name}`)
        yield* doing(() => page.keyboard.press("Escape"))
        yield* press(said.edit, of("caio"))
        yield* doing(() => box.focus())
        yield* doing(() => page.keyboard.press("Control+A"))
        yield* doing(() => page.keyboard.type("De ambos"))
        yield* press(said.write, "#edit")
        yield* observer.hurried
        yield* doing(() => page.locator(of("caio")).waitFor({ state: "detached" }))
        yield* run
        const names = Effect.map(external.rows(perfis), (rows) => rows.map(({ nome }) => nome))
        assert.deepStrictEqual(yield* names, ["De fora", "<b>De dentro</b>", "De ambos"])
        const changed = (yield* external.rows(perfis))[2]
        assert.deepInclude(changed, { email: "caio@exemplo.pt" })

        yield* doing(() => page.locator("#conflicts-list > details > summary").press("Enter"))
        yield* shoot(`decided-${name}`)
        page.once("dialog", (dialog) => void dialog.accept())
        yield* press(said.undo, "#conflicts-list article:has-text('perfis: bia')")
        yield* observer.hurried
        yield* run
        assert.deepStrictEqual(yield* names, ["De fora", "De fora", "De ambos"])
        assert.deepStrictEqual(complaints.filter((line) => !line.includes("401")), [])
      }))
  }

  it.scopedLive("shows no values where no token is set, and says why", () =>
    Effect.gen(function*() {
      const { run, servers, url } = yield* startServed()
      yield* servers.replit.app.insert(perfis, profile("ana", "Ana"))
      yield* run
      yield* servers.replit.app.update(perfis, ["ana"], { nome: "De dentro" })
      yield* servers.external.app.update(perfis, ["ana"], { nome: "De fora" })
      yield* run
      const open = yield* opened(url, { locale: "en-GB" })
      if (open === null) return
      const { page, press, seen, shoot } = open
      yield* press("Look at them", "#conflicts")
      yield* doing(() => page.locator("#conflicts-list > article").waitFor())
      const text = yield* seen
      assert.include(text, "Values of rows are shown only where SYNC_HTTP_TOKEN is set.")
      assert.include(text, "≠ nome")
      assert.notMatch(text, /De dentro|De fora|ana@|Edit field by field/)
      yield* shoot("no-values")
    }))

  it.scopedLive("asks for the token, by keyboard alone, and keeps it nowhere", () =>
    Effect.gen(function*() {
      const { run, url } = yield* startServed({ token })
      yield* run
      const open = yield* opened(url, { locale: "pt-PT" })
      if (open === null) return
      const { page, says, shoot, violations } = open
      yield* doing(() => page.locator("#token:focus").waitFor())
      assert.deepStrictEqual(yield* violations, [])
      yield* shoot("login")
      yield* doing(() => page.keyboard.type("errado, mas comprido"))
      yield* doing(() => page.keyboard.press("Enter"))
      yield* doing(() => page.locator("#refused", { hasText: "Esse não é o token." }).waitFor())
      yield* doing(() => page.locator("#token").fill(""))
      yield* doing(() => page.keyboard.type(Redacted.value(token)))
      yield* doing(() => page.keyboard.press("Enter"))
      yield* says("✓ Nada está a caminho")
      const [cookie, ...others] = yield* doing(() => page.context().cookies())
      assert.deepStrictEqual(others, [])
      assert.include(cookie, { name: "vaivem_session", httpOnly: true, sameSite: "Strict" })
      assert.notInclude(cookie!.value, Redacted.value(token))
      assert.strictEqual(yield* doing(() => page.evaluate("document.cookie + localStorage.length")), "0")
    }))
})
