import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Exit, TestClock } from "effect"
import { inbox } from "../../src/cli/inbox.ts"
import { versionsText } from "../../src/cli/inboxText.ts"
import { conflictText, quarantineText, restoredText } from "../../src/cli/journalText.ts"
import { WorldRefused } from "../../src/domain/SyncError.ts"
import { keepConflict, listConflicts, type ShownConflict } from "../../src/programs/conflicts.ts"
import { makeCycle } from "../../src/programs/cycle.ts"
import { makePair, perfis, profile } from "../support/MemoryPair.ts"
import { atTerminal } from "../support/ScriptedTerminal.ts"

const sync = Effect.flatMap(makeCycle, (cycle) => cycle({ retryFor: 0, lease: "wait", notBefore: 0 }))

/** A conflict of each of these rows, the last one newest: Replit's version, named Old, lost to external's. */
const conflicted = Effect.fnUntraced(function*(...ids: ReadonlyArray<string>) {
  const pair = yield* makePair()
  for (const id of ids) {
    yield* pair.servers.replit.app.insert(perfis, profile(id, "As it was"))
    yield* Effect.provide(sync, pair.layer())
    yield* pair.servers.replit.app.update(perfis, [id], { nome: "Old", updated_at: "2024-01-02 00:00:00+00" })
    yield* pair.servers.external.app.update(perfis, [id], { nome: "New", updated_at: "2024-01-03 00:00:00+00" })
    yield* Effect.provide(sync, pair.layer())
    yield* TestClock.adjust("1 minute")
  }
  const namesOn = (side: "replit" | "external") =>
    Effect.map(pair.servers[side].app.rows(perfis), (rows) => rows.map(({ id, nome }) => `${id} ${nome}`))
  const undecided = Effect.map(
    Effect.provide(listConflicts({ limit: 99, undecided: true }), pair.layer()),
    (found) => found.map(({ key }) => key.join())
  )
  return { ...pair, namesOn, undecided }
})

const down = (times: number) => Array.from({ length: times }, () => "down" as const)

describe("the inbox of conflicts", () => {
  it.effect("shows both versions, keeps what was decided, and goes on with the next", () =>
    Effect.gen(function*() {
      const { layer, namesOn, undecided } = yield* conflicted("ana", "bia")
      const { exit, out, unused } = yield* inbox.pipe(
        // The newest one first: kept. Then the one before is there; quit.
        atTerminal(["enter", "enter", ...down(5), "enter"]),
        Effect.provide(layer())
      )
      assert.deepStrictEqual([exit, unused], [Exit.void, 0])
      assert.match(out, /❯ perfis {2}bia {2}1970-01-01 00:01 {2}external won {2}changed on both/)
      assert.match(out, /\nperfis, key bia\nDecided 1970-01-01 00:01:00Z: changed on both sides/)
      assert.match(out, /\n {3}field +lost: Replit +won: external\n/)
      assert.match(out, /\* {2}nome +Old +New/)
      assert.notMatch(out, /email/)
      assert.include(out, "Kept perfis bia as it was decided.")
      assert.match(out, /Kept perfis bia[^]*\nperfis, key ana\n/)
      assert.deepStrictEqual(yield* undecided, ["ana"])
      assert.deepStrictEqual(yield* namesOn("replit"), ["ana New", "bia New"])
    }))

  it.effect("restores what lost, and says that it travels with the next cycle", () =>
    Effect.gen(function*() {
      const { layer, namesOn, undecided } = yield* conflicted("ana")
      const { exit, out } = yield* inbox.pipe(atTerminal(["enter", "down", "enter"]), Effect.provide(layer()))
      assert.deepStrictEqual(exit, Exit.void)
      assert.match(out, /Restored perfis ana on Replit; the next cycle brings it to external\./)
      assert.match(out, /No conflict waits for a decision\./)
      assert.deepStrictEqual([yield* namesOn("replit"), yield* undecided], [["ana Old"], []])
      yield* Effect.provide(sync, layer())
      assert.deepStrictEqual(yield* namesOn("external"), ["ana Old"])
    }))

  it.effect("writes fields one by one, typed or taken from what lost, and nothing before it is told to", () =>
    Effect.gen(function*() {
      const { layer, servers, undecided } = yield* conflicted("ana")
      const before = yield* servers.replit.app.rows(perfis)
      const edit = ["enter", ...down(2), "enter"] as const
      // Replit's name is taken, and then everything is left as it is.
      const left = [...edit, "enter", "down", "enter", ...down(3), "enter", "quit"] as const
      yield* inbox.pipe(atTerminal(left), Effect.provide(layer()))
      assert.deepStrictEqual([yield* servers.replit.app.rows(perfis), yield* undecided], [before, ["ana"]])
      const { out, unused } = yield* inbox.pipe(
        atTerminal([
          ...edit,
          ...["enter", "down", "enter"] as const,
          ...["down", "down", "enter", "down", "enter", { type: "a@b" }, "enter"] as const,
          "enter"
        ]),
        Effect.provide(layer())
      )
      assert.match(out, /\+ nome: Old/)
      assert.match(out, /\+ email: a@b/)
      assert.match(out, /Write these 2 fields/)
      assert.match(out, /Wrote nome and email of perfis ana on Replit; the next cycle brings it to\nexternal\./)
      assert.strictEqual(unused, 0)
      assert.deepInclude((yield* servers.replit.app.rows(perfis))[0], { nome: "Old", email: "a@b" })
      assert.deepStrictEqual(yield* undecided, [])
    }))

  it.effect("says so when nothing waits", () =>
    Effect.gen(function*() {
      const { layer } = yield* makePair()
      const { exit, out } = yield* inbox.pipe(atTerminal([]), Effect.provide(layer()))
      assert.deepStrictEqual([exit, out.startsWith("No conflict waits for a decision.")], [Exit.void, true])
    }))

  it.effect("does nothing to a conflict that somebody decided meanwhile, and goes on", () =>
    Effect.gen(function*() {
      const { layer, namesOn } = yield* conflicted("ana", "bia")
      const [bia] = yield* Effect.provide(listConflicts({ limit: 1 }), layer())
      const elsewhere = Effect.orDie(Effect.provide(keepConflict(bia!.id), layer()))
      const { out } = yield* inbox.pipe(
        atTerminal(["enter", "down", elsewhere, "enter", "quit"]),
        Effect.provide(layer())
      )
      assert.match(out, /Somebody decided it meanwhile \(kept 1970-01-01 00:02:00Z\): nothing was done\./)
      assert.match(out, /meanwhile[^]*\nperfis, key ana\n/)
      assert.deepStrictEqual(yield* namesOn("replit"), ["ana New", "bia New"])
    }))

  it.effect("shows the one side's conflicts when the other can't be asked, tells what can't be done, and ends when both can't", () =>
    Effect.gen(function*() {
      const { layer, servers, undecided } = yield* conflicted("ana")
      const gone = (side: "replit" | "external") => ({
        ...servers[side].connect(),
        conflicts: () => new WorldRefused({ side, sqlState: null, message: "It is\u001b[2J gone." }),
        conflict: () => new WorldRefused({ side, sqlState: null, message: "It is gone." })
      })
      const one = yield* inbox.pipe(
        atTerminal(["enter", "enter", "quit"]),
        Effect.provide(layer({}, { external: gone("external") }))
      )
      assert.deepStrictEqual(one.exit, Exit.void)
      assert.include(one.out, "What lost on external is not shown. E'It is\\x1b[2J gone.'")
      assert.include(one.out, "That was not done. It is gone.")
      assert.deepStrictEqual(yield* undecided, ["ana"])
      const both = yield* inbox.pipe(
        atTerminal([]),
        Effect.provide(layer({}, { replit: gone("replit"), external: gone("external") }))
      )
      assert.match(String(both.exit), /WorldRefused/)
    }))

  it.effect("asks before it deletes a row on both sides", () =>
    Effect.gen(function*() {
      const { layer, namesOn, servers } = yield* conflicted()
      yield* servers.replit.app.insert(perfis, profile("ana", "Ana"))
      yield* Effect.provide(sync, layer())
      yield* servers.replit.app.remove(perfis, ["ana"])
      yield* TestClock.adjust("1 minute")
      yield* servers.external.app.update(perfis, ["ana"], { nome: "New", updated_at: "2024-01-03 00:00:00+00" })
      yield* Effect.provide(sync, layer())
      assert.deepStrictEqual(yield* namesOn("replit"), ["ana New"])
      const no = yield* inbox.pipe(
        atTerminal(["enter", "down", "enter", { type: "n" }, "quit"]),
        Effect.provide(layer())
      )
      assert.match(no.out, /On Replit the row was deleted\.\n[^]*won: external\n[^]*nome +New/)
      assert.match(no.out, /Delete it, as on Replit/)
      assert.deepStrictEqual(yield* namesOn("replit"), ["ana New"])
      const yes = yield* inbox.pipe(atTerminal(["enter", "down", "enter", { type: "y" }]), Effect.provide(layer()))
      assert.match(yes.out, /Deleted perfis ana on Replit, as it was there; the next cycle/)
      assert.deepStrictEqual(yield* namesOn("replit"), [])
    }))

  it.effect("turns pages, newest first", () =>
    Effect.gen(function*() {
      const ids = Array.from({ length: 21 }, (_, index) => `p${10 + index}`)
      const { layer } = yield* conflicted(...ids)
      const { out } = yield* inbox.pipe(
        atTerminal([...down(20), "enter", "down", "enter", ...down(21), "enter"], { rows: 60 }),
        Effect.provide(layer())
      )
      assert.match(
        out,
        /❯ perfis {2}p30[^]*perfis {2}p11[^]*Older ones[^]*\(from 21\)[^]*❯ perfis {2}p10[^]*Newer ones/
      )
    }))

  it.effect("masks what is hidden, and writes no colour under NO_COLOR", () =>
    Effect.gen(function*() {
      const { layer } = yield* conflicted("ana")
      const settings = { hidden: [{ table: perfis, column: "nome" }, { table: perfis, column: "id" }] }
      const steps = ["enter", ...down(2), "enter", "quit"] as const
      const shown = yield* inbox.pipe(atTerminal(steps), Effect.provide(layer(settings)))
      assert.notMatch(shown.out, /Old|New|\bana\b(?!@)/)
      assert.match(shown.out, /\* {2}nome +\(hidden\) +\(hidden\)/)
      assert.notMatch(shown.out, /[*+ ] nome: /)
      const colour = /\p{Cc}\[[\d;]*m/u
      assert.match(shown.prompts.join(""), colour)
      const plain = yield* inbox.pipe(
        atTerminal(steps),
        Effect.provide(layer(settings)),
        Effect.withConfigProvider(ConfigProvider.fromMap(new Map([["NO_COLOR", "1"]])))
      )
      assert.notMatch(plain.prompts.join(""), colour)
      assert.match(plain.prompts.join(""), /❯ Keep external's version/)
    }))
})

describe("both versions", () => {
  const conflict = (lost: ShownConflict["lost"], won: ShownConflict["won"]): ShownConflict => ({
    id: "0b5e9f7a-0000-4000-8000-000000000000",
    lostSide: "replit",
    table: perfis,
    key: ["a\u001b[31m"],
    reason: "conflict",
    policy: null,
    lost,
    won,
    decidedAt: "2026-11-26T12:03:04Z",
    restoredAt: null,
    keptAt: null,
    winner: won === null ? "deleted" : "row",
    differs: Object.keys(lost ?? {}).filter((name) => won !== null && lost![name] !== won[name]),
    hidden: [],
    keyColumns: ["id"]
  })
  const text = (lost: ShownConflict["lost"], won: ShownConflict["won"], columns = 80, all = false) =>
    // The library's own colour for what a sign marks.
    versionsText(conflict(lost, won), columns, all).replaceAll(/\p{Cc}\[[\d;]*m/gu, "")

  it("never hands a control character on to the terminal, and shows what can't be seen", () => {
    const shown = text(
      { "id": "1", "n\u001b[2J": "a\nb\u001b[31m", "c": "Ana ", "d": "x\u202ey", "e": "C:\\temp" },
      { "id": "1", "n\u001b[2J": "a\\nb", "c": "Ana", "d": "xy", "e": "it's" }
    )
    assert.notMatch(shown, /[^\P{Cc}\n]|\p{Cf}/u)
    assert.include(shown, `key E'a\\x1b[31m'`)
    assert.match(shown, /\* {2}E'n\\x1b\[2J' +E'a\\nb\\x1b\[31m' +a\\nb/)
    assert.match(shown, /\* {2}c +E'Ana ' +Ana\n/)
    assert.match(shown, /\* {2}d +E'x\\u202ey' +xy\n/)
    assert.match(shown, /\* {2}e +C:\\temp +it's/)
  })

  it("hands none on in the commands that print one conflict, or the quarantine", () => {
    const refused = {
      id: "0b5e9f7a-0000-4000-8000-000000000000",
      table: perfis,
      key: ["a\u001b[31m"],
      from: "replit" as const,
      sqlState: "P0001",
      message: "no\u001b[2J",
      constraint: null,
      blockedBy: ["b\u001b[31m"],
      attempts: 1,
      since: "2026-11-26T12:03:04Z",
      nextAttemptAt: "infinity"
    } as const
    for (
      const shown of [
        conflictText(conflict({ id: "1" }, null)),
        restoredText(conflict({ id: "1" }, null)),
        quarantineText([refused])
      ]
    ) assert.notMatch(shown, /[^\P{Cc}\n]/u)
  })

  it("cuts long values where they begin to differ, with their length", () => {
    const long = "x".repeat(5000)
    const shown = text({ v: `${long}Old${long}` }, { v: `${long}New${long}` })
    assert.match(shown, /\* {2}v +…xxxxOldx+… \(10,003 chars\) +…xxxxNewx+… \(10,003 chars\)/)
    assert.isAtMost(Math.max(...shown.split("\n").map((line) => line.length)), 80)
  })

  it("tells null, nothing and an empty text apart", () => {
    const shown = text({ a: null, b: "", c: "1" }, { a: "", b: null })
    assert.match(shown, /\* {2}a +\(null\) +\(empty\)\n\* {2}b +\(empty\) +\(null\)\n\* {2}c +1 +–/)
  })

  it("puts them under each other where the terminal is narrow, and never writes further than it is wide", () => {
    const versions = [{ id: "1", nome_completo: "Ana de Souza Prado ".repeat(9) }, {
      id: "1",
      nome_completo: "日本".repeat(50)
    }] as const
    const shown = text(...versions, 40)
    assert.match(shown, /\n\* nome_completo\n {4}lost: Ana de S.*… \(171 chars\)\n {4}won: 日本.*… \(100 chars\)\n/)
    const wide = (line: string) => [...line].reduce((sum, character) => sum + (character > "⺀" ? 2 : 1), 0)
    for (const columns of [40, 60, 80, 200]) {
      const lines = text(...versions, columns).split("\n")
      assert.deepStrictEqual(lines.filter((line) => wide(line) > columns), [], String(columns))
    }
  })

  it("shows of a wide table what differs, and the rest when asked for", () => {
    const row = Object.fromEntries(Array.from({ length: 200 }, (_, index) => [`c${index}`, String(index)]))
    const shown = text(row, { ...row, c150: "other" })
    assert.match(shown, /\* {2}c150 +150 +other\n\n199 more fields are equal on both sides\.$/)
    assert.lengthOf(text(row, { ...row, c150: "other" }, 80, true).split("\n"), 205)
    assert.match(text(row, null), /On external the row was deleted\.[^]* c19 +19\n\n180 more fields\.$/)
  })
})
