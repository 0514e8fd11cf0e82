/** The page in a real browser: what it says, in which language and width, and whether everybody can read it. */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Redacted } from "effect"
import * as Fs from "node:fs"
import { createRequire } from "node:module"
import type { BrowserContextOptions } from "playwright-core"
import { vi } from "vitest"
import { Unavailable } from "../../src/domain/SyncError.ts"
import { browser, doing } from "../support/Browser.ts"
import { makePair, perfis, profile } from "../support/MemoryPair.ts"
import { startServed } from "../support/Served.ts"

// A browser takes seconds to start on a busy machine.
vi.setConfig({ testTimeout: 120_000 })

const axe = Fs.readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8")

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
  return { page, says, seen, complaints, violations, shoot }
})

describe("the page", () => {
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
      const text = yield* seen
      for (const part of ["Reachable", "Round trip", "Proven equal", "perfis", "as ours", "vaivem 1.2.3"]) {
        assert.include(text, part)
      }
      assert.strictEqual(yield* doing(() => page.locator("#tables tbody td").first().innerText()), "2")
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
      assert.strictEqual(yield* doing(() => page.locator("#detail").innerText()), "<b>External</b> is away.")
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
      yield* doing(() => page.keyboard.press("Tab"))
      yield* doing(() => page.keyboard.press("Tab"))
      yield* doing(() => page.keyboard.press("Enter"))
      yield* observer.hurried
      yield* run
      yield* says("✓ Nada está a caminho")
      assert.lengthOf(yield* servers.replit.app.rows(perfis), 1)
      assert.deepStrictEqual(complaints, [])
    }))

  it.scopedLive("asks for the token, by keyboard alone, and keeps it nowhere", () =>
    Effect.gen(function*() {
      const token = "um-segredo-de-teste-1234"
      const { run, url } = yield* startServed({ token: Redacted.make(token) })
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
      yield* doing(() => page.keyboard.type(token))
      yield* doing(() => page.keyboard.press("Enter"))
      yield* says("✓ Nada está a caminho")
      const [cookie, ...others] = yield* doing(() => page.context().cookies())
      assert.deepStrictEqual(others, [])
      assert.include(cookie, { name: "vaivem_session", httpOnly: true, sameSite: "Strict" })
      assert.notInclude(cookie!.value, token)
      assert.strictEqual(yield* doing(() => page.evaluate("document.cookie + localStorage.length")), "0")
    }))
})
