/**
 * What people are told of, each thing once: when it begins, and again only after it was over. Pure: what holds now and
 * what was told of it give what is to be told.
 */
import { amount, list } from "./Quantity.ts"

/** Stable names, by which a receiver can sort. `test` is a person's own question. */
export type NoticeEvent =
  | "failing"
  | "recovered"
  | "held"
  | "paused"
  | "quarantine"
  | "different"
  | "capture"
  | "folded"
  | "test"

/** One thing that people are told. It never holds a row's values, a URL or a password. */
export interface Notice {
  readonly event: NoticeEvent
  /** The table that it is about, where it is about one. */
  readonly table: string | null
  readonly text: string
}

/** What holds now. While cycles fail, all but `failure` is what the last one that got through left. */
export interface Standing {
  readonly failure: {
    /** Cycles that failed since the last one that got through. */
    readonly count: number
    readonly message: string
    /** Trying again helps nothing: a password, a quota, a setting. */
    readonly needsPerson: boolean
  } | null
  /** Whether any cycle of this process got through. */
  readonly hasPassed: boolean
  readonly waiting: ReadonlyArray<{ readonly table: string; readonly problem: string; readonly held?: true }>
  /** Keys in quarantine on both sides. */
  readonly quarantined: number
  /** Rows that the rolling proof found different, by table. */
  readonly differing: ReadonlyMap<string, number>
  /** Tables that were captured already and had to be compared again. */
  readonly capturedAnew: ReadonlyArray<string>
  /** Sentences about queues that were folded, because nobody read them. */
  readonly folded: ReadonlyArray<string>
}

/** What was told, and is not over. */
export interface Told {
  readonly keys: ReadonlySet<string>
  /** Cycles that failed, as far as was seen. */
  readonly failures: number
}

export const nothingTold: Told = { keys: new Set(), failures: 0 }

/**
 * One cycle that fails is a database that restarts, and the next gets through; three in a row are over ten minutes with
 * the default interval. What only a person can lift is told with the first.
 */
export const failuresBeforeTold = 3

/** What is to be told now, and what is told then. */
export const tell = (told: Told, now: Standing): { readonly told: Told; readonly notices: ReadonlyArray<Notice> } => {
  const holds = [...failing(told, now), ...standing(now)]
  const isOver = now.failure === null && (told.keys.has("failing") || told.keys.has("refused"))
  return {
    told: { keys: new Set(holds.map(({ key }) => key)), failures: now.failure?.count ?? 0 },
    notices: [
      ...(isOver
        ? [{ event: "recovered" as const, table: null, text: recovered(told.failures) }]
        : []),
      ...holds.flatMap(({ key, notice }) => notice === null || told.keys.has(key) ? [] : [notice])
    ]
  }
}

interface Holds {
  readonly key: string
  /** Null where it was told before, and what it was is no longer known. */
  readonly notice: Notice | null
}

/**
 * Told twice at most while it lasts: that cycles fail, and that a person must act. Before the first cycle got through
 * nothing is told with the first failure: whoever starts the service sees it, and one that is started again and again
 * would tell it each time.
 */
const failing = (told: Told, { failure, hasPassed }: Standing): ReadonlyArray<Holds> => {
  if (failure === null) return []
  const { count, message, needsPerson } = failure
  const known = ["failing", "refused"].filter((key) => told.keys.has(key))
  const before = known.map((key): Holds => ({ key, notice: null }))
  const isTold = known.includes("refused") || known.includes("failing") && !needsPerson
  if (isTold || !(count >= failuresBeforeTold || needsPerson && hasPassed)) return before
  const cycles = count === 1 ? "The last cycle failed" : `${amount(count, "cycle")} in a row failed`
  const text = needsPerson
    ? `${cycles}, and trying again will not help: ${message}`
    : `${cycles}; the service goes on trying. The last reason: ${message}`
  return [...before, { key: needsPerson ? "refused" : "failing", notice: { event: "failing", table: null, text } }]
}

const recovered = (failures: number): string =>
  `Cycles get through again, after ${amount(Math.max(1, failures), "cycle")} that failed.`

const standing = ({ capturedAnew, differing, folded, quarantined, waiting }: Standing): ReadonlyArray<Holds> => [
  ...[...new Map(waiting.map((one) => [keyOf(one), one])).entries()].map(([key, { held, problem, table }]): Holds => ({
    key,
    notice: { event: held === true ? "held" : "paused", table, text: problem }
  })),
  ...(quarantined === 0 ? [] : [{
    key: "quarantine",
    notice: {
      event: "quarantine" as const,
      table: null,
      text: `${amount(quarantined, "row")} in quarantine: the other side refused ${
        quarantined === 1 ? "it" : "them"
      }. \`quarantine list\` says why.`
    }
  }]),
  ...[...differing].map(([table, rows]): Holds => ({
    key: `different ${table}`,
    notice: {
      event: "different",
      table,
      text: `The rolling proof found ${amount(rows, "row")} of ${table} that ${
        rows === 1 ? "differs" : "differ"
      } on the two sides although no change is on its way. \`verify\` names ${rows === 1 ? "it" : "them"}.`
    }
  })),
  ...(capturedAnew.length === 0 ? [] : [{
    key: "capture",
    notice: {
      event: "capture" as const,
      table: null,
      text:
        `Capture or columns of ${
          list([...capturedAnew].sort())
        } were no longer as they had been set up. They were set up again, `
        + "and both sides compared: changes made meanwhile are synced."
    }
  }]),
  ...folded.map((text): Holds => ({ key: `folded ${text}`, notice: { event: "folded", table: null, text } }))
]

const keyOf = ({ held, table }: Standing["waiting"][number]): string => `${held === true ? "held" : "paused"} ${table}`
