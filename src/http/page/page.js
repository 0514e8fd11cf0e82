/**
 * The page: shows what `/api/events` sends, and what time does to it meanwhile. It keeps nothing, computes no state of its
 * own and writes texts as texts, so that no name or message can become markup.
 */
import { act, post } from "./asking.js"
import { draw } from "./chart.js"
import { button, byId, describe, element, tabulate, write } from "./elements.js"
import { showJournal } from "./journal.js"
import { at, bytes, count, duration, now, setClock, since } from "./reading.js"
import { language, text } from "./texts.js"

const sides = ["replit", "external"]

/** What came last. */
let view = null
let isLost = false
let cycles = []

// ---------------------------------------------------------------------------------------------------------------------
// What it says
// ---------------------------------------------------------------------------------------------------------------------

const sum = (of) =>
  view.tables.reduce((total, table) => total + sides.reduce((n, side) => n + (of(table)[side] ?? 0), 0), 0)

/** That all tables are paused is said once. */
const isOwnWait = ({ waits }) => waits !== null && !(view.allPaused && waits.why === "by-hand")

/** A sign, words and a kind: what matters most. */
const headline = () => {
  const { cycle, databases, tables } = view
  const quarantined = sum(({ quarantined }) => quarantined)
  const waits = [
    ...(view.allPaused ? [text.allPaused] : []),
    ...tables.filter((table) => isOwnWait(table)).map(({ table, waits }) => text[waits.why](table)),
    ...(quarantined === 0 ? [] : [text.quarantined(count(quarantined))])
  ]
  const down = sides.filter((side) => databases[side].up === false)
  if (down.length > 0) return ["✕", down.map((side) => text.down(text[side])).join(", "), "bad"]
  if (cycle.failures > 0) return ["✕", text.failing(cycle.failures), "bad"]
  if (cycle.last === null) return ["…", text.first, ""]
  if (["not-due", "standby"].includes(cycle.last.outcome)) return ["◌", text.standby, ""]
  if (waits.length > 0) return ["!", text.waiting(waits.join(", ")), "bad"]
  const pending = sum(({ pending }) => pending)
  return pending > 0 ? ["↻", text.moving(count(pending)), ""] : ["✓", text.equal, "good"]
}

const rhythm = ({ intervalMs, kind, live, maxIntervalMs }) =>
  kind === "eco"
    ? text.eco(duration(intervalMs), duration(maxIntervalMs))
    : (live ? text.live : text.every)(duration(intervalMs))

const showCycle = ({ cycle, schedule }) =>
  describe(byId("cycle"), [
    [
      text.next,
      cycle.nextMs === null
        ? cycle.runningSinceMs === null ? text.unknown : text.running(since(cycle.runningSinceMs))
        : cycle.nextMs - now() < 1_000
        ? text.due
        : text.in(duration(1_000 * Math.round((cycle.nextMs - now()) / 1_000)))
    ],
    [
      text.last,
      cycle.last === null
        ? text.unknown
        : text.took(
          text.ago(since(cycle.last.endedMs)),
          `${duration(cycle.last.durationMs)} (${text.outcomes[cycle.last.outcome]})`
        )
    ],
    [text.rhythm, rhythm(schedule)]
  ])

const clockText = (ms) =>
  ms === null
    ? text.unknown
    : Math.abs(ms) < 100
    ? text.clockExact
    : (ms > 0 ? text.ahead : text.behind)(duration(Math.abs(ms)))

const showDatabases = ({ databases }) => {
  const place = byId("databases")
  if (place.childElementCount === 0) {
    place.append(
      ...sides.map((side) =>
        element("article", {}, element("h3", {}, text[side]), element("dl"), element("p", { class: "problem" }))
      )
    )
  }
  for (const [index, side] of sides.entries()) {
    const it = databases[side]
    const [, list, problem] = place.children[index].children
    describe(list, [
      [text.kind, it.kind === null ? text.unknown : `${it.kind}, PostgreSQL ${it.version}, ${it.database}`],
      [
        text.reachable,
        it.up === null ? text.unknown : it.up ? `✓ ${text.yes}` : `✕ ${text.no}`,
        it.up === false ? "problem" : ""
      ],
      [
        text.lag,
        it.lagMs === null
          ? text.unknown
          : text.atMost(duration(1_000 * Math.ceil((it.lagMs + now() - view.nowMs) / 1_000)))
      ],
      [text.roundTrip, it.latencyMs === null ? text.unknown : duration(it.latencyMs)],
      [text.clock, clockText(it.clockOffsetMs)],
      [text.awake, { always: text.awakeAlways, awake: text.awakeNow, asleep: text.asleep }[it.awake]],
      [text.tls, it.tls === null ? text.unknown : it.tls ? text.yes : text.no],
      [text.bytes, `${bytes(it.bytesIn)}, ${bytes(it.bytesOut)}`]
    ])
    write(problem, it.problem ?? "")
  }
}

/** One number where both sides have the same; else Replit's, then external's. */
const both = ({ external, replit }) =>
  replit === external ? count(replit) : `${text.replit} ${count(replit)}, ${text.external} ${count(external)}`

const ways = (
  { external, replit }
) => (replit === 0 && external === 0 ? "0" : `→ ${count(replit)}, ← ${count(external)}`)

/** Never 100 % of what isn't all. */
const share = ({ of, rows }) => (rows >= of ? "100 %" : `${Math.min(99.9, Math.floor((rows / of) * 1_000) / 10)} %`)

const provenText = (proven) =>
  proven === null ? text.nothingProven : text.provenOf(share(proven), count(proven.of), since(proven.sinceMs))

const stateText = ({ table, waits }) => (waits === null ? "✓" : `! ${text[waits.why](table)}`)

const toggling = (isPaused, table) => ({
  label: isPaused ? text.resume : text.pause,
  name: table === null
    ? (isPaused ? text.resumeAll : text.pauseAll)
    : `${isPaused ? text.resume : text.pause}: ${table}`,
  onPress: (pressed) => void act(pressed, isPaused ? "resume" : "pause", { table })
})

/** A table goes on by itself only when all do. */
const pausing = ({ table, waits }) => view.allPaused ? "" : toggling(waits?.why === "by-hand", table)

const showTables = ({ lookedAtMs, tables }) => {
  write(byId("looked"), lookedAtMs === null ? text.notLooked : text.looked(text.ago(since(lookedAtMs))))
  tabulate(
    byId("tables"),
    [
      text.table,
      text.rows,
      text.pending,
      text.quarantine,
      text.conflicts,
      text.proven,
      text.moved,
      text.state,
      text.pausing
    ],
    tables.map((table) => [
      table.table,
      both(table.rows),
      ways(table.pending),
      ways(table.quarantined),
      both(table.conflicts),
      provenText(table.proven),
      table.movedAtMs === null ? text.notSince : text.ago(since(table.movedAtMs)),
      stateText(table),
      pausing(table)
    ]),
    [1, 2, 3, 4]
  )
}

/** Why tables wait, with what can be done about it here. The nodes stay as long as the tables do. */
const showWaiting = ({ tables }) => {
  const waiting = [
    ...(view.allPaused ? [{ table: null, waits: { why: "by-hand", problem: "" } }] : []),
    ...tables.filter((table) => isOwnWait(table))
  ]
  const list = byId("waiting-tables")
  byId("waiting").hidden = waiting.length === 0
  const shape = JSON.stringify(waiting.map(({ table, waits }) => [table, waits.why]))
  if (list.dataset.shape !== shape) {
    list.dataset.shape = shape
    list.replaceChildren(...waiting.map(({ table, waits }) => {
      const actions = { "held": ["approve", "reject"], "by-hand": ["resume"], "paused": [] }[waits.why]
      const buttons = actions.map((action) =>
        button(table === null ? text.resumeAll : `${text[action]}: ${table}`, (pressed) => {
          const sure = text[`${action}Sure`]
          if (sure === undefined || confirm(sure(table))) void act(pressed, action, { table })
        })
      )
      return element("li", {}, element("p"), ...buttons)
    }))
  }
  for (const [index, { table, waits }] of waiting.entries()) {
    const why = table === null ? text.allPausedWhy : text.why[waits.why](table, waits.problem)
    write(list.children[index].firstChild, why)
  }
}

const movedRows = ({ deleted, inserted, updated }) => inserted + updated + deleted

const showCycles = () => {
  byId("quiet").hidden = cycles.length > 0
  byId("chart").hidden = cycles.length === 0
  byId("cycles").hidden = cycles.length === 0
  if (cycles.length === 0) return
  tabulate(
    byId("cycles"),
    [text.ended, text.outcome, text.pushed, text.pulled, text.duration, text.bytes],
    cycles.slice(-10).toReversed().map(({ durationMs, endedMs, error, outcome, pull, push }) => [
      at(endedMs),
      error === null ? `✓ ${text.outcomes[outcome]}` : `✕ ${text.outcomes[outcome]}: ${error}`,
      count(movedRows(push)),
      count(movedRows(pull)),
      duration(durationMs),
      `${bytes(pull.bytes)}, ${bytes(push.bytes)}`
    ]),
    [2, 3, 4, 5]
  )
  draw(cycles)
}

const show = () => {
  if (view === null) return
  const [sign, words, kind] = isLost ? ["✕", text.lost(at(view.nowMs)), "bad"] : headline()
  write(byId("headline"), `${sign} ${words}`)
  byId("headline").className = kind
  const { error, needsPerson } = view.cycle
  write(byId("detail"), isLost || error === null ? "" : `${needsPerson ? text.needsPerson : text.triesAgain} ${error}`)
  showCycle(view)
  showDatabases(view)
  showWaiting(view)
  showTables(view)
  write(byId("pause"), toggling(view.allPaused, null).name)
  showJournal({ quarantined: sum(({ quarantined }) => quarantined), undecided: sum(({ conflicts }) => conflicts) })
  write(byId("version"), text.version(view.version))
}

// ---------------------------------------------------------------------------------------------------------------------
// Where it comes from
// ---------------------------------------------------------------------------------------------------------------------

const readCycles = async () => {
  const response = await fetch("api/cycles")
  if (!response.ok) return
  cycles = await response.json()
  showCycles()
}

const take = (next) => {
  const before = view?.cycle.newsMs
  view = next
  setClock(next.nowMs)
  isLost = false
  byId("login").hidden = true
  byId("shown").hidden = false
  show()
  if (next.cycle.newsMs !== before) void readCycles()
}

/** The browser connects again by itself, unless it was refused. */
const listen = () => {
  const events = new EventSource("api/events")
  events.addEventListener("message", ({ data }) => take(JSON.parse(data)))
  events.addEventListener("error", () => {
    isLost = true
    show()
    if (events.readyState === EventSource.CLOSED) setTimeout(begin, 5_000)
  })
}

const begin = async () => {
  const response = await fetch("api/status").catch(() => null)
  if (response?.ok === true) {
    take(await response.json())
    listen()
  } else if (response?.status === 401) {
    byId("shown").hidden = true
    byId("login").hidden = false
    byId("token").focus()
  } else {
    isLost = true
    if (view === null) write(byId("headline"), `✕ ${text.unanswered}`)
    show()
    setTimeout(begin, 5_000)
  }
}

byId("login").addEventListener("submit", async (event) => {
  event.preventDefault()
  const response = await post("session", { token: byId("token").value })
  if (response?.ok === true) {
    byId("token").value = ""
    write(byId("refused"), "")
    await begin()
  } else {
    const why = { 401: text.wrong, 429: text.tooMany }[response?.status] ?? text.unanswered
    write(byId("refused"), why)
  }
})

byId("pause").addEventListener("click", ({ currentTarget }) => toggling(view.allPaused, null).onPress(currentTarget))
byId("sync").addEventListener("click", ({ currentTarget }) => void act(currentTarget, "sync", {}, text.asked))
document.documentElement.lang = language
for (const node of document.querySelectorAll("[data-text]")) node.textContent = text[node.dataset.text]
setInterval(show, 1_000)
await begin()
