/** That the examples of `docs/conflicts.md` end as the page says. */
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Effect, TestClock } from "effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { type Side, sides } from "../../src/domain/Side.ts"
import { listConflicts } from "../../src/programs/conflicts.ts"
import { makeCycle } from "../../src/programs/cycle.ts"
import type { Row } from "../../src/services/memory/MemoryTable.ts"
import { makePair, perfis, profile } from "../support/MemoryPair.ts"

/** What the app does on a side: sets columns, deletes the row at a time of its own, or nothing. */
type Write = Row | { readonly deletedAt: string } | null

interface Example {
  /** As in the table of the page. */
  readonly replit: string
  readonly external: string
  readonly writes: Readonly<Record<Side, Write>>
  /** The row that both sides end with; null when it is gone. */
  readonly ends: Partial<Row> | null
  /** Whose version is in the journal. */
  readonly lost: Side | null
}

const at = (time: string) => `2026-11-26 ${time}+00`

const examples: ReadonlyArray<Example> = [
  {
    replit: "name changed at 12:01",
    external: "nothing",
    writes: { replit: { nome: "Ana S.", updated_at: at("12:01:00") }, external: null },
    ends: { nome: "Ana S." },
    lost: null
  },
  {
    replit: "nothing",
    external: "changed, with a stamp of last year",
    writes: { replit: null, external: { nome: "Ana S.", updated_at: "2025-01-01 00:00:00+00" } },
    ends: { nome: "Ana S." },
    lost: null
  },
  {
    replit: "name changed at 12:01",
    external: "e-mail changed at 12:02",
    writes: {
      replit: { nome: "Ana S.", updated_at: at("12:01:00") },
      external: { email: "ana.s@exemplo.pt", updated_at: at("12:02:00") }
    },
    ends: { nome: "Ana", email: "ana.s@exemplo.pt" },
    lost: "replit"
  },
  {
    replit: "set to some content",
    external: "set to the same content",
    writes: {
      replit: { nome: "Ana S.", updated_at: at("12:01:00") },
      external: { nome: "Ana S.", updated_at: at("12:01:00") }
    },
    ends: { nome: "Ana S." },
    lost: null
  },
  {
    replit: "row deleted at 12:03",
    external: "name changed at 12:02",
    writes: { replit: { deletedAt: at("12:03:00") }, external: { nome: "Ana S.", updated_at: at("12:02:00") } },
    ends: null,
    lost: "external"
  },
  {
    replit: "row deleted at 12:01",
    external: "name changed at 12:02",
    writes: { replit: { deletedAt: at("12:01:00") }, external: { nome: "Ana S.", updated_at: at("12:02:00") } },
    ends: { nome: "Ana S." },
    lost: "replit"
  },
  {
    replit: "row deleted",
    external: "row deleted",
    writes: { replit: { deletedAt: at("12:01:00") }, external: { deletedAt: at("12:02:00") } },
    ends: null,
    lost: null
  },
  {
    replit: "changed, stamp empty",
    external: "changed at 12:02",
    writes: { replit: { nome: "Ana S.", updated_at: null }, external: { nome: "Ana P.", updated_at: at("12:02:00") } },
    ends: { nome: "Ana P." },
    lost: "replit"
  },
  {
    replit: "changed at 12:02:00.000001",
    external: "changed at 12:02:00.000001",
    writes: {
      replit: { nome: "Ana S.", updated_at: at("12:02:00.000001") },
      external: { nome: "Ana P.", updated_at: at("12:02:00.000001") }
    },
    ends: { nome: "Ana S." },
    lost: "external"
  }
]

const sync = Effect.flatMap(makeCycle, (cycle) => cycle({ retryFor: 0, lease: "wait", notBefore: 0 }))

describe("docs/conflicts.md", () => {
  it("has these examples", () => {
    const page = Fs.readFileSync(Path.join(import.meta.dirname, "../../docs/conflicts.md"), "utf8")
    const table = page.slice(page.indexOf("| on Replit")).split("\n\n")[0]!.split("\n").slice(2)
    const told = table.map((line) => line.split("|").slice(1, 3).map((cell) => cell.trim()))
    assert.deepStrictEqual(told, examples.map(({ external, replit }) => [replit, external]))
  })

  for (const { ends, external, lost, replit, writes } of examples) {
    it.effect(`"${replit}" and "${external}" end as it says`, () =>
      Effect.gen(function*() {
        const pair = yield* makePair()
        yield* pair.servers.replit.app.insert(perfis, profile("ana", "Ana"))
        yield* Effect.provide(sync, pair.layer())
        for (const side of sides) {
          const { app } = pair.servers[side]
          const write = writes[side]
          if (write === null) continue
          if ("deletedAt" in write) {
            yield* TestClock.setTime(DateTime.unsafeMake(String(write.deletedAt)).epochMillis)
            yield* app.remove(perfis, ["ana"])
          } else yield* app.update(perfis, ["ana"], write)
        }
        yield* Effect.provide(sync, pair.layer())
        for (const side of sides) {
          const [row] = yield* pair.servers[side].app.rows(perfis)
          if (ends === null) assert.isUndefined(row)
          else assert.include(row, ends)
        }
        const found = yield* Effect.provide(listConflicts({ limit: 10 }), pair.layer())
        assert.deepStrictEqual(found.map(({ lostSide }) => lostSide), lost === null ? [] : [lost])
      }))
  }
})
