/** What a benchmark found: a line of the table, judged or only shown. */

export interface Figure {
  /** Its section's name comes before it in `--json`. */
  readonly what: string
  readonly measured: string
  /** What it is compared with, in the same run on the same servers. */
  readonly beside: string
  readonly judged: Judged | null
}

export interface Judged {
  /** A ratio to the yardstick, or a number of its own. */
  readonly value: number
  readonly reach: { readonly atLeast: number } | { readonly atMost: number }
  /** Where it stood in a quick run on 2026-11-26, for what didn't reach; docs/performance.md says what binds. */
  readonly stood?: number
}

/** By what part of it the figure falls short of its reach; 0 or less when it is reached. */
export const shortfall = ({ reach, value }: Judged): number =>
  "atLeast" in reach ? 1 - value / reach.atLeast : value / reach.atMost - 1

/** The same of where it stood, if that is short of the reach: a quick run shows what has become slower. */
export const setback = ({ reach, stood, value }: Judged): number =>
  shortfall({ value, reach: stood === undefined ? reach : "atLeast" in reach ? { atLeast: stood } : { atMost: stood } })

/** `1.3 or more`. */
export const reachText = ({ reach }: Judged): string =>
  "atLeast" in reach ? `${number(reach.atLeast)} or more` : `${number(reach.atMost)} or less`

export const valueText = ({ value }: Judged): string => number(value)

const number = (value: number): string =>
  Number.isInteger(value) ? value.toLocaleString("en-US") : value.toFixed(value < 10 ? 2 : 1)
