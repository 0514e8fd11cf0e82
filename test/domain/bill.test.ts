import { assert, describe, it } from "@effect/vitest"
import { billOf, billText } from "../../src/domain/bill.ts"

const minutes = (n: number) => n * 60_000
const spaced = (n: number) => ({ _tag: "Spaced", intervalMs: minutes(n) }) as const
const hour = minutes(60)

describe("a month's bill", () => {
  it("of a visit every five minutes is that of a database that is always awake, and of fewer ones it is less", () => {
    const hours = [1, 5, 10, 15, 30, 60].map((n) => Math.round(billOf(spaced(n)).cuHours))
    assert.deepStrictEqual(hours, [183, 183, 91, 61, 30, 15])
    assert.strictEqual(billOf(spaced(5)).visits, 8_760)
  })

  it("of eco is that of its longest pause, and of live mode all of it", () => {
    assert.deepStrictEqual(billOf({ _tag: "Eco", maxIntervalMs: hour }), billOf(spaced(60)))
    assert.strictEqual(billOf({ _tag: "Live", intervalMs: hour }).awakeHours, 730)
  })

  it("is said with what eco would cost, where the database sleeps", () => {
    assert.match(
      billText(spaced(5), true, hour),
      /A visit every 5 min keeps it awake all month: about 183 CU-hours at 0\.25 CU \(Neon's free plan has 100\), 8,760 visits .*SYNC_SCHEDULE=eco: about 15 CU-hours without changes/
    )
    assert.match(billText(spaced(30), true, hour), /keeps it awake 122 hours a month: about 30 CU-hours/)
    assert.notInclude(billText({ _tag: "Eco", maxIntervalMs: hour }, true, hour), "SYNC_SCHEDULE=eco")
    assert.match(billText({ _tag: "Live", intervalMs: hour }, true, hour), /SYNC_LIVE keeps it awake all month/)
    assert.notInclude(billText(spaced(5), false, hour), "CU-hours")
  })
})
