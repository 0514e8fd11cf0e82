/**
 * Quarantine and the conflict inbox. Both are read when somebody opens them, for that asks the databases; and again when
 * something was done about them, here or elsewhere.
 */
import { act, read } from "./asking.js"
import { button, byId, element, tabulate, write } from "./elements.js"
import { at, count, since } from "./reading.js"
import { text } from "./texts.js"

// ---------------------------------------------------------------------------------------------------------------------
// A list that is opened
// ---------------------------------------------------------------------------------------------------------------------

/** @param make what is shown of what was read. */
const opened = (name, make) => {
  const [section, toggle, list] = [byId(name), byId(`${name}-toggle`), byId(`${name}-list`)]
  let counted = 0
  const refresh = async () => {
    const found = await read(name)
    if (found === null) return
    const hadFocus = list.contains(document.activeElement)
    list.replaceChildren(
      ...(found.values ? [] : [element("p", { class: "note" }, text.noValues)]),
      ...make(found, refresh)
    )
    list.hidden = false
    toggle.setAttribute("aria-expanded", "true")
    write(toggle, text.close)
    // What had it is gone.
    if (hadFocus) toggle.focus()
  }
  const close = () => {
    list.hidden = true
    list.replaceChildren()
    toggle.setAttribute("aria-expanded", "false")
    write(toggle, text.look)
  }
  close()
  toggle.addEventListener("click", () => (list.hidden ? void refresh() : close()))
  /** There are so many now. What somebody is about to use stays under their fingers. */
  const follow = (n) => {
    if (n === counted || list.contains(document.activeElement)) return
    counted = n
    if (!list.hidden) void refresh()
  }
  return { section, isOpen: () => !list.hidden, follow }
}

/** A button that does something to a record, asks first where `sure` says what, and reads the list again. */
const doing = (label, action, body, refresh, sure) =>
  button(label, async (pressed) => {
    if (sure !== undefined && !confirm(sure)) return
    if (await act(pressed, action, body)) await refresh()
  })

const named = ({ key, table }) => `${table}: ${key.join(", ")}`

// ---------------------------------------------------------------------------------------------------------------------
// Quarantine
// ---------------------------------------------------------------------------------------------------------------------

const entry = (it, refresh) => {
  const other = it.from === "replit" ? "external" : "replit"
  return element(
    "article",
    {},
    element("h3", {}, named(it)),
    element("p", { class: "problem" }, `${it.message}${it.sqlState === null ? "" : ` (${it.sqlState})`}`),
    element("p", {}, text.refusedBy(text[it.from], text[other])),
    ...(it.blockedBy === null ? [] : [element("p", {}, text.inItsWay(it.blockedBy.join(", "), text[other]))]),
    element(
      "p",
      { class: "soft" },
      text.tried(count(it.attempts), since(it.sinceMs)),
      " ",
      it.nextMs === null ? text.triedWhenSaid : it.nextMs < Date.now() ? text.triedNext : text.triedAt(at(it.nextMs))
    ),
    doing(text.retry, "quarantine/retry", { id: it.id }, refresh),
    doing(text.discard, "quarantine/discard", { id: it.id }, refresh, text.discardSure(named(it), text[other]))
  )
}

const quarantine = opened("quarantine", ({ all, entries }, refresh) => [
  ...(all === 0 ? [element("p", {}, text.nothingHere)] : []),
  ...(all > 1 ? [doing(text.retryAll(count(all)), "quarantine/retry", { id: null }, refresh)] : []),
  ...entries.map((it) => entry(it, refresh)),
  ...(all > entries.length ? [element("p", {}, text.more(count(all - entries.length)))] : [])
])

// ---------------------------------------------------------------------------------------------------------------------
// Conflicts
// ---------------------------------------------------------------------------------------------------------------------

const shown = (
  value
) => (value === undefined ? "–" : value === null ? text.nothing : value === "" ? text.emptyText : value)

const sideOf = ({ lostSide }) => text[lostSide]
const otherSide = ({ lostSide }) => text[lostSide === "replit" ? "external" : "replit"]

/** Both versions beside each other. A sign marks what differs, so that nobody needs a colour. */
const versions = (conflict, fields) => {
  const table = element("table", { "role": "table", "class": "versions", "aria-label": named(conflict) })
  // Of a version that was given up for whatever the other side has, nobody kept that.
  const columns = conflict.winner === "unknown" ? 2 : 3
  tabulate(
    table,
    [text.field, text.lostOn(sideOf(conflict)), text.wonOn(otherSide(conflict))].slice(0, columns),
    fields.map(({ column, differs, lost, won }) =>
      [`${differs ? "≠ " : ""}${column}`, shown(lost), shown(won)].slice(0, columns)
    ),
    []
  )
  for (const [index, { differs }] of fields.entries()) table.tBodies[0].rows[index].classList.toggle("differs", differs)
  return table
}

const state = ({ decidedMs, keptMs, policy, reason, restoredMs }) =>
  [
    text.lostBecause(text.reasons[reason] ?? reason, reason === "conflict" ? policy : null, at(decidedMs)),
    ...(restoredMs === null ? [] : [text.restoredAt(at(restoredMs))]),
    ...(keptMs === null ? [] : [text.keptAt(at(keptMs))])
  ].join(" ")

const conflict = (it, refresh, { isOpen, values }) => {
  const differing = it.fields.filter(({ differs }) => differs)
  const same = it.fields.filter(({ differs }) => !differs)
  const main = differing.length > 0 ? differing : it.fields
  return element(
    "article",
    {},
    element("h3", {}, named(it)),
    element("p", { class: "soft" }, state(it)),
    ...(it.loser === "deleted" ? [element("p", {}, text.loserDeleted(sideOf(it)))] : []),
    ...(it.winner === "deleted" ? [element("p", {}, text.winnerDeleted(otherSide(it)))] : []),
    versions(it, main),
    ...(differing.length === 0 || same.length === 0
      ? []
      : [element("details", {}, element("summary", {}, text.sameFields(count(same.length))), versions(it, same))]),
    ...(isOpen ? [doing(text.keep, "conflicts/keep", { id: it.id }, refresh)] : []),
    ...(it.restoredMs === null
      ? [doing(
        it.reason === "restore" ? text.undo : text.restore,
        "conflicts/restore",
        { id: it.id },
        refresh,
        text.restoreSure(named(it))
      )]
      : []),
    ...(isOpen && values && it.fields.some(({ editable }) => editable)
      ? [button(text.edit, () => edit(it, refresh))]
      : [])
  )
}

const conflicts = opened("conflicts", ({ decided, undecided, values }, refresh) => [
  ...(undecided.length === 0 ? [element("p", {}, text.nothingUndecided)] : []),
  ...undecided.map((it) => conflict(it, refresh, { isOpen: true, values })),
  ...(decided.length === 0 ? [] : [element(
    "details",
    {},
    element("summary", {}, text.decidedLately(count(decided.length))),
    ...decided.map((it) => conflict(it, refresh, { isOpen: false, values }))
  )])
])

// ---------------------------------------------------------------------------------------------------------------------
// Field by field
// ---------------------------------------------------------------------------------------------------------------------

/** One field of the form: a text, or nothing. Only what a person changed is written. */
const field = ({ column, differs, lost, won }, place, isDeleted) => {
  const before = (isDeleted ? lost : won) ?? null
  const id = `field-${place}`
  const box = element("textarea", { id, rows: "1" })
  const nothing = element("input", { id: `${id}-nothing`, type: "checkbox" })
  const fill = (value) => {
    box.value = value ?? ""
    nothing.checked = value === null
  }
  fill(before)
  // As the browser keeps it: line ends may be others.
  const was = box.value
  box.addEventListener("input", () => {
    nothing.checked = false
  })
  const other = isDeleted ? won : lost
  const node = element(
    "div",
    { class: "field" },
    element("label", { for: id }, `${differs ? "≠ " : ""}${column}`),
    box,
    element("span", { class: "nothing" }, nothing, element("label", { for: `${id}-nothing` }, text.nothing)),
    ...(differs && other !== undefined ? [button(text.takeLost(shown(other)), () => fill(other))] : [])
  )
  const value = () => (nothing.checked ? null : box.value)
  const isChanged = () => (nothing.checked ? before !== null : before === null || box.value !== was)
  return { column, node, value, isChanged }
}

const edit = (it, refresh) => {
  const editable = it.fields.filter((one) => one.editable)
  const fields = [...editable.filter((one) => one.differs), ...editable.filter((one) => !one.differs)]
    .map((one, place) => field(one, place, it.winner === "deleted"))
  const dialog = byId("edit")
  const close = () => {
    dialog.close()
    dialog.replaceChildren()
  }
  const problem = element("p", { class: "problem", role: "alert" })
  const form = element(
    "form",
    {},
    element("h2", { id: "edit-title" }, named(it)),
    element("p", { class: "soft" }, text.editNote(sideOf(it))),
    ...fields.map(({ node }) => node),
    problem,
    element("button", { type: "submit" }, text.write),
    button(text.cancel, close)
  )
  form.addEventListener("submit", async (event) => {
    event.preventDefault()
    const changes = Object.fromEntries(
      fields.filter((one) => one.isChanged()).map((one) => [one.column, one.value()])
    )
    const isDone = await act(form.querySelector("[type=submit]"), "conflicts/edit", { id: it.id, changes })
    if (!isDone) return write(problem, byId("done").textContent)
    close()
    await refresh()
  })
  dialog.replaceChildren(form)
  dialog.showModal()
}

// ---------------------------------------------------------------------------------------------------------------------
// With each look at the service
// ---------------------------------------------------------------------------------------------------------------------

/** @param counts keys in quarantine and undecided conflicts, as they were counted. */
export const showJournal = (counts) => {
  quarantine.section.hidden = counts.quarantined === 0 && !quarantine.isOpen()
  write(byId("quarantine-count"), text.refusedRows(count(counts.quarantined)))
  write(byId("conflicts-count"), text.undecided(count(counts.undecided)))
  quarantine.follow(counts.quarantined)
  conflicts.follow(counts.undecided)
}
