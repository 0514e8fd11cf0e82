/** `verify` for people: a line a table, and the first few keys that differ. */
import type { Difference } from "../domain/Difference.ts"
import { amount, bytes as bytesText, count } from "../domain/Quantity.ts"
import { summaryLine } from "../domain/Summary.ts"
import type { Verified, VerifiedTable } from "../programs/verify.ts"

export const verifyText = ({ repaired, tables, wouldMark }: Verified): string =>
  [
    ...(repaired === null ? [] : [`Repaired: ${summaryLine(repaired)}`]),
    ...tables.flatMap((table) => [
      tableLine(table),
      ...table.sample.map(sampleLine),
      ...restLine(table),
      ...pausedLine(table)
    ]),
    ...(wouldMark === null ? [] : [
      `Nothing was changed. --repair would mark ${amount(wouldMark.replit, "key")} as pending on Replit and ${
        count(wouldMark.external)
      } on external, then run a cycle.`
    ])
  ].join("\n")

/** Says so when not all that differs is named. */
const restLine = ({ different, onlyOn, quarantined, sample, unproven }: VerifiedTable): ReadonlyArray<string> => {
  const rest = different + onlyOn.replit + onlyOn.external + quarantined + unproven - sample.length
  return rest > 0 ? [`  … and ${count(rest)} more: --show names as many as you say`] : []
}

const pausedLine = ({ outcome, problem }: VerifiedTable): ReadonlyArray<string> =>
  problem === null || outcome === "waiting" ? [] : [`  ${problem} Until then \`verify --repair\` leaves it as it is.`]

const tableLine = (verified: VerifiedTable): string => {
  const { bytes, different, onlyOn, outcome, problem, quarantined, ranges, rows, table, unproven } = verified
  const pending = problem === null ? "a change is pending, the next cycle moves it" : "a change is pending"
  if (outcome === "waiting" || rows === null) return `${table}: not compared. ${problem ?? ""}`
  if (outcome === "equal") {
    return `${table}: equal, ${amount(rows.replit, "row")} on both sides (${
      amount(ranges?.compared ?? 0, "range")
    } of keys, ${bytesText(bytes)} moved)`
  }
  const found = [
    ...(onlyOn.replit === 0 ? [] : [`${count(onlyOn.replit)} only on Replit`]),
    ...(onlyOn.external === 0 ? [] : [`${count(onlyOn.external)} only on external`]),
    ...(different === 0 ? [] : [`${count(different)} with different content`]),
    ...(quarantined === 0 ? [] : [`${count(quarantined)} in quarantine`]),
    ...(unproven === 0 ? [] : [`${count(unproven)} not proven yet: ${pending}`])
  ]
  const verdict = outcome === "different" ? "DIFFERENT" : "not proven"
  return `${table}: ${verdict}, ${count(rows.replit)} on Replit, ${amount(rows.external, "row")} on external: ${
    found.join("; ")
  }`
}

const sampleLine = ({ key, kind, why }: Difference): string =>
  `  ${key.join(", ")}: ${kinds[kind]}${why === "unknown" ? "" : ` (${why})`}`

const kinds: Readonly<Record<Difference["kind"], string>> = {
  "only-on-replit": "only on Replit",
  "only-on-external": "only on external",
  different: "different content"
}
