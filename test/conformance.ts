/**
 * What every `Database` does. Both forms pass it: `MemoryDatabase` as the reference, `PgDatabase` on real servers. A
 * property that can't be said here is not part of the contract.
 */
import { describe } from "@effect/vitest"
import { afterAll, beforeEach } from "vitest"
import { applying } from "./conformance/applying.ts"
import { braking } from "./conformance/braking.ts"
import { catalog } from "./conformance/catalog.ts"
import { changelog } from "./conformance/changelog.ts"
import { comparison } from "./conformance/comparison.ts"
import { few } from "./conformance/few.ts"
import { ids } from "./conformance/ids.ts"
import { journal } from "./conformance/journal.ts"
import { lease } from "./conformance/lease.ts"
import { listening } from "./conformance/listening.ts"
import type { MakePair } from "./conformance/Pair.ts"
import { proving } from "./conformance/proving.ts"
import { quarantine } from "./conformance/quarantine.ts"
import { survey } from "./conformance/survey.ts"

export type { MakePair, Member, Pair } from "./conformance/Pair.ts"
export { ddl, tables } from "./conformance/Pair.ts"

/**
 * Registers the suite; every test makes its own pair.
 *
 * @param makeReady the same, with all tables set up already, where that is much work: `setUp` finds it done.
 * @param except titles of tests that a form can't pass, with the reason: what its documentation says that it doesn't do.
 */
export const suite = (
  name: string,
  makePair: MakePair,
  makeReady = makePair,
  except: Readonly<Record<string, string>> = {}
) => {
  describe(`${name} is a Database`, () => {
    beforeEach((context) => {
      const reason = except[context.task.name]
      if (reason !== undefined) context.skip(reason)
    })
    afterAll((suite) => {
      const all = new Set(
        suite.tasks.flatMap((task) => task.type === "suite" ? task.tasks.map((test) => test.name) : [])
      )
      const unknown = Object.keys(except).filter((title) => !all.has(title))
      if (unknown.length > 0) throw new Error(`No test has these titles: ${unknown.join("; ")}`)
    })
    describe("catalog", () => {
      catalog(makePair)
    })
    describe("changelog", () => {
      changelog(makeReady)
    })
    describe("lease", () => {
      lease(makeReady)
    })
    describe("applying", () => {
      applying(makeReady)
    })
    describe("few", () => {
      few(makeReady)
    })
    describe("braking", () => {
      braking(makeReady)
    })
    describe("ids", () => {
      ids(makePair)
    })
    describe("quarantine", () => {
      quarantine(makeReady)
    })
    describe("comparison", () => {
      comparison(makeReady)
    })
    describe("proving", () => {
      proving(makeReady)
    })
    describe("survey", () => {
      survey(makeReady)
    })
    describe("listening", () => {
      listening(makeReady)
    })
    describe("journal", () => {
      journal(makeReady)
    })
  })
}
