/**
 * The inbox of conflicts on a terminal: what nobody has decided is shown one after the other, and decided or left. It does
 * nothing that `conflicts keep`, `conflicts restore` and the page's editor don't do.
 */
import { Prompt } from "@effect/cli"
import * as Terminal from "@effect/platform/Terminal"
import { Console, Effect } from "effect"
import { count } from "../domain/Quantity.ts"
import { label, opposite } from "../domain/Side.ts"
import type { SyncError } from "../domain/SyncError.ts"
import { cut, visible } from "../domain/TextTable.ts"
import {
  editableColumns,
  editConflict,
  keepConflict,
  openConflicts,
  restoreConflict,
  showConflict,
  type ShownConflict
} from "../programs/conflicts.ts"
import { ask } from "./asking.ts"
import { choiceLines, fieldsOf, fieldText, shownFields, versionsText, wrapped } from "./inboxText.ts"
import { editedText, keptText, restoredText, seconds } from "./journalText.ts"

/** Ends when the person quits, with Ctrl-C too, or when nothing waits any more. */
export const inbox = Effect.suspend(() => choosing(0)).pipe(
  Effect.catchTag("QuitException", () => Console.log(""))
)

/** How wide and how high the terminal is. Pipes that pretend to be one say 0. */
const room = Effect.gen(function*() {
  const terminal = yield* Terminal.Terminal
  const [columns, rows] = [yield* terminal.columns, yield* terminal.rows]
  return {
    columns: columns === 0 ? 80 : columns,
    // The question takes a line, and so does what is below.
    choices: rows === 0 ? pageRows : Math.max(3, Math.min(pageRows, rows - 3))
  }
})

const say = (text: string) => Effect.flatMap(room, ({ columns }) => Console.log(wrapped(text, columns).join("\n")))

/** Asks which of several it is to be. A choice that is wrapped would not be cleared: titles are cut. */
const pick = Effect.fnUntraced(function*<const A>(message: string, choices: ReadonlyArray<readonly [string, A]>) {
  const { choices: maxPerPage, columns } = yield* room
  return yield* ask(Prompt.select({
    message: cut(message, columns - 6),
    maxPerPage,
    choices: choices.map(([title, value]) => ({ title: cut(title, columns - titleMargin), value }))
  }))
})

// ---------------------------------------------------------------------------------------------------------------------
// The list
// ---------------------------------------------------------------------------------------------------------------------

const choosing = Effect.fnUntraced(function*(first: number) {
  let page = first
  while (true) {
    const { conflicts, unread } = yield* openConflicts((page + 1) * pageRows + 1)
    yield* Effect.forEach(
      unread,
      ({ message, side }) => say(`What lost on ${label(side)} is not shown. ${visible(message)}`)
    )
    const here = conflicts.slice(page * pageRows, (page + 1) * pageRows)
    if (here.length === 0 && page > 0) {
      page--
      continue
    }
    if (here.length === 0) {
      return yield* say("No conflict waits for a decision. `conflicts list` shows those that were decided.")
    }
    const isMore = conflicts.length > (page + 1) * pageRows
    const { columns } = yield* room
    const lines = choiceLines(here, columns - titleMargin)
    const chosen = yield* pick<number | "older" | "newer" | "quit">(
      `Which conflict?${page === 0 ? "" : ` (from ${count(page * pageRows + 1)})`}`,
      [
        ...here.map((_, index) => [lines[index]!, index] as const),
        ...(isMore ? [["Older ones", "older"] as const] : []),
        ...(page > 0 ? [["Newer ones", "newer"] as const] : []),
        ["Quit", "quit"]
      ]
    )
    if (chosen === "quit") return
    if (chosen === "older") page++
    else if (chosen === "newer") page--
    else if ((yield* goingThrough(here.slice(chosen))) === "quit") return
  }
})

const goingThrough = Effect.fnUntraced(function*(conflicts: ReadonlyArray<ShownConflict>) {
  for (const conflict of conflicts) {
    const then = yield* deciding(conflict)
    if (then !== "next") return then
  }
  return "list" as const
})

// ---------------------------------------------------------------------------------------------------------------------
// One conflict
// ---------------------------------------------------------------------------------------------------------------------

const deciding = Effect.fnUntraced(function*(conflict: ShownConflict) {
  let all = false
  while (true) {
    const { columns } = yield* room
    yield* Console.log(`\n${versionsText(conflict, columns, all)}\n`)
    const chosen = yield* pick("What is to be done?", choicesOf(conflict, all))
    switch (chosen) {
      case "next":
      case "list":
      case "quit":
        return chosen
      case "all":
        all = true
        continue
      case "keep":
        return yield* done(conflict, Effect.map(keepConflict(conflict.id), keptText))
      case "restore":
        if (conflict.lost === null && !(yield* ask(Prompt.confirm({ message: "Delete it on both sides?" })))) continue
        return yield* done(conflict, Effect.map(restoreConflict(conflict.id), restoredText))
      case "edit": {
        const changes = yield* editing(conflict)
        const names = Object.keys(changes)
        if (names.length === 0) continue
        return yield* done(
          conflict,
          Effect.map(editConflict(conflict.id, changes), (edited) => editedText(edited, names))
        )
      }
    }
  }
})

const choicesOf = (conflict: ShownConflict, all: boolean) => {
  const [lost, won] = [label(conflict.lostSide), label(opposite(conflict.lostSide))]
  return [
    [conflict.winner === "deleted" ? `Keep it deleted, as on ${won}` : `Keep ${won}'s version`, "keep"],
    [conflict.lost === null ? `Delete it, as on ${lost}` : `Restore ${lost}'s version`, "restore"],
    ["Edit field by field", "edit"],
    ...(shownFields(conflict, all).length === fieldsOf(conflict).length
      ? []
      : [[`Show all ${count(fieldsOf(conflict).length)} fields`, "all"] as const]),
    ["Leave it, and go on with the next", "next"],
    ["Back to the list", "list"],
    ["Quit", "quit"]
  ] as const
}

/** Decides it, unless somebody else did meanwhile, and tells what happened. Whatever goes wrong, the next can be tried. */
const done = <R>(conflict: ShownConflict, decide: Effect.Effect<string, SyncError, R>) =>
  Effect.gen(function*() {
    const { keptAt, restoredAt } = yield* showConflict(conflict.id)
    const at = restoredAt ?? keptAt
    if (at === null) return yield* decide
    return `Somebody decided it meanwhile (${restoredAt === null ? "kept" : "restored"} ${
      seconds(at)
    }): nothing was done.`
  }).pipe(
    Effect.catchAll(({ message }) => Effect.succeed(`That was not done. ${visible(message)}`)),
    Effect.flatMap(say),
    Effect.as("next" as const)
  )

// ---------------------------------------------------------------------------------------------------------------------
// Field by field
// ---------------------------------------------------------------------------------------------------------------------

type Changes = Readonly<Record<string, string | null>>

/** What is to be written; nothing when the person leaves it. */
const editing = Effect.fnUntraced(function*(conflict: ShownConflict) {
  const { differs, lost, won } = conflict
  const fields = yield* editableColumns(conflict)
  if (fields.length === 0) {
    yield* say("No field of it can be edited: hidden ones, the key and the stamp are nobody's to write here.")
    return {}
  }
  // What stays where nothing is written; of a row that is gone, the version that lost.
  const base = won ?? lost ?? {}
  let changes: Changes = {}
  while (true) {
    const { columns } = yield* room
    const written = Object.keys(changes).length
    const chosen = yield* pick<"write" | "back" | { readonly field: string }>("Edit which field?", [
      ...(written === 0
        ? []
        : [[`Write ${written === 1 ? "this field" : `these ${written} fields`}`, "write"] as const]),
      ...fields.map((field) => {
        const isNew = field in changes
        const name = `${isNew ? "+" : differs.includes(field) ? "*" : " "} ${cut(visible(field), 20)}: `
        const [value, other] = isNew ? [changes[field], base[field]] : [base[field], undefined]
        return [`${name}${fieldText(value, other, columns - titleMargin - name.length)}`, { field }] as const
      }),
      ["Back, and write nothing", "back"]
    ])
    if (chosen === "back") return {}
    if (chosen === "write") return changes
    const value = yield* valueFor(conflict, base, chosen.field)
    const { [chosen.field]: _, ...others } = changes
    changes = value === undefined ? others : { ...others, [chosen.field]: value }
  }
})

/** Undefined: it stays. */
const valueFor = Effect.fnUntraced(function*(conflict: ShownConflict, base: Changes, field: string) {
  const { columns } = yield* room
  const name = cut(visible(field), 20)
  const lostValue = conflict.won === null ? undefined : conflict.lost?.[field]
  const text = (value: string | null | undefined, other: string | null | undefined, before: string) =>
    `${before}: ${fieldText(value, other, columns - titleMargin - before.length - 2)}`
  const chosen = yield* pick(`${name}:`, [
    [text(base[field], lostValue, "Leave"), "leave"],
    ...(lostValue === undefined || lostValue === base[field]
      ? []
      : [[text(lostValue, base[field], `Take ${label(conflict.lostSide)}'s`), "take"] as const]),
    ["Type another value", "type"],
    ["Empty it (null)", "null"]
  ])
  if (chosen === "leave") return undefined
  if (chosen === "take") return lostValue
  if (chosen === "null") return null
  return yield* ask(Prompt.text({
    message: `${name}:`,
    validate: (typed) =>
      /\p{Cc}/u.test(typed) ? Effect.fail("What has control characters can't be typed here.") : Effect.succeed(typed)
  }))
})

/** Conflicts on a page of the list. */
const pageRows = 20
/** The pointer and the arrow before a title, a space after it, and a column that is left free. */
const titleMargin = 5
