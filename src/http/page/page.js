/**
 * The page: shows what `/api/events` sends, and what time does to it meanwhile. It keeps nothing, computes no state of its
 * own and writes texts as texts, so that no name or message can become markup.
 */
import { language, locale, text } from "./texts.js"
import uPlot from "./uplot.js"

const byId = (id) => document.getElementById(id)
const sides = ["replit", "external"]

/** What came last, and how far the service's clock is ahead of the browser's. */
let view = null
let offsetMs = 0
let isLost = false
let cycles = []
let plot = null
/** When each charted cycle ended, as it reads. */
let ended = []

const now = () => Date.now() + offsetMs

// ---------------------------------------------------------------------------------------------------------------------
// How numbers and times read
// ---------------------------------------------------------------------------------------------------------------------

const whole = new Intl.NumberFormat(locale)
const clock = new Intl.DateTimeFormat(locale, { timeStyle: "medium" })
const day = new Intl.DateTimeFormat(locale, { dateStyle: "short", timeStyle: "medium" })

const count = (n) => (n === null ? "?" : whole.format(n))
const at = (ms) => (now() - ms < 43_200_000 ? clock : day).format(ms)

const duration = (ms) => {
  if (ms < 1_000) return `${Math.round(ms)} ms`
  if (ms < 10_000) return `${new Intl.NumberFormat(locale, { maximumFractionDigits: 1 }).format(ms / 1_000)} s`
  const seconds = Math.round(ms / 1_000)
  if (seconds < 60) return `${seconds} s`
  const [big, bigUnit, small, smallUnit] = seconds < 3_600
    ? [60, "min", 1, "s"]
    : seconds < 86_400
    ? [3_600, "h", 60, "min"]
    : [86_400, "d", 3_600, "h"]
  const rest = Math.floor((seconds % big) / small)
  return `${Math.floor(seconds / big)} ${bigUnit}${rest === 0 ? "" : ` ${rest} ${smallUnit}`}`
}

/** Whole seconds, so that it doesn't flicker. */
const since = (ms) => duration(Math.max(1_000, 1_000 * Math.round((now() - ms) / 1_000)))

const bytes = (n) => {
  const units = ["B", "kB", "MB", "GB", "TB"]
  const unit = n < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(n) / 3))
  return `${new Intl.NumberFormat(locale, { maximumSignificantDigits: 3 }).format(n / 1000 ** unit)} ${units[unit]}`
}

// ---------------------------------------------------------------------------------------------------------------------
// Making the page
// ---------------------------------------------------------------------------------------------------------------------

const element = (name, options = {}, ...children) => {
  const made = document.createElement(name)
  for (const [key, value] of Object.entries(options)) made.setAttribute(key, value)
  made.append(...children)
  return made
}

/** Writes only what changed: a reader's selection stays, and a screen reader says nothing twice. */
const write = (node, value) => {
  if (node.textContent !== value) node.textContent = value
}

/** Pairs of a term and its description; the nodes stay. */
const describe = (list, pairs) => {
  const names = pairs.map(([name]) => name).join("\n")
  if (list.dataset.names !== names) {
    list.dataset.names = names
    list.replaceChildren(...pairs.flatMap(([name]) => [element("dt", {}, name), element("dd")]))
  }
  const values = list.querySelectorAll("dd")
  for (const [index, [, value, kind = ""]] of pairs.entries()) {
    write(values[index], value)
    values[index].className = kind
  }
}

/** Rows of texts under headings; the first of each is the row's own heading. Cells are right-aligned where `numbers` says. */
const tabulate = (table, headings, rows, numbers) => {
  const shape = JSON.stringify([headings, rows.map(([name]) => name)])
  const kind = (index) => (numbers.includes(index) ? { class: "number" } : {})
  if (table.dataset.shape !== shape) {
    table.dataset.shape = shape
    const head = headings.map((heading, index) =>
      element("th", { scope: "col", role: "columnheader", ...kind(index) }, heading)
    )
    const body = rows.map((cells) =>
      element(
        "tr",
        { role: "row" },
        ...cells.map((_, index) =>
          index === 0
            ? element("th", { scope: "row", role: "rowheader" })
            : element("td", { "role": "cell", "data-label": headings[index], ...kind(index) })
        )
      )
    )
    table.replaceChildren(
      element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, ...head)),
      element("tbody", { role: "rowgroup" }, ...body)
    )
  }
  for (const [row, cells] of rows.entries()) {
    const nodes = table.tBodies[0].rows[row].cells
    for (const [index, value] of cells.entries()) write(nodes[index], value)
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// What it says
// ---------------------------------------------------------------------------------------------------------------------

const sum = (of) =>
  view.tables.reduce((total, table) => total + sides.reduce((n, side) => n + (of(table)[side] ?? 0), 0), 0)

/** A sign, words and a kind: what matters most. */
const headline = () => {
  const { cycle, databases, tables } = view
  const quarantined = sum(({ quarantined }) => quarantined)
  const waits = [
    ...tables.filter(({ waits }) => waits !== null).map(({ table, waits }) => text[waits.why](table)),
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
      text.state
    ],
    tables.map((table) => [
      table.table,
      both(table.rows),
      ways(table.pending),
      ways(table.quarantined),
      both(table.conflicts),
      provenText(table.proven),
      table.movedAtMs === null ? text.notSince : text.ago(since(table.movedAtMs)),
      stateText(table)
    ]),
    [1, 2, 3, 4]
  )
}

/** Why tables wait, with what can be done about it here. The nodes stay as long as the tables do. */
const showWaiting = ({ tables }) => {
  const waiting = tables.filter(({ waits }) => waits !== null)
  const list = byId("waiting-tables")
  byId("waiting").hidden = waiting.length === 0
  const shape = JSON.stringify(waiting.map(({ table, waits }) => [table, waits.why]))
  if (list.dataset.shape !== shape) {
    list.dataset.shape = shape
    list.replaceChildren(...waiting.map(({ table, waits }) => {
      const actions = waits.why === "held" ? ["approve", "reject"] : []
      const buttons = actions.map((action) => {
        const button = element("button", { type: "button" }, `${text[action]}: ${table}`)
        button.addEventListener("click", () => {
          if (confirm(text[`${action}Sure`](table))) void act(button, action, { table }, text.doneIt)
        })
        return button
      })
      return element("li", {}, element("p"), ...buttons)
    }))
  }
  for (const [index, { waits }] of waiting.entries()) write(list.children[index].firstChild, waits.problem)
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
  draw()
}

/** A pair of bars for each cycle, one filled and one hollow, so that nobody needs their colours; and dots for how long it took. */
const draw = () => {
  const place = byId("chart")
  const style = getComputedStyle(document.documentElement)
  const colour = (name) => style.getPropertyValue(`--${name}`).trim()
  const charted = cycles.slice(-place.clientWidth / 16)
  const data = [
    charted.map((_, index) => index),
    charted.map(({ push }) => movedRows(push)),
    charted.map(({ pull }) => movedRows(pull)),
    charted.map(({ durationMs }) => durationMs / 1_000)
  ]
  ended = charted.map(({ endedMs }) => at(endedMs))
  if (plot !== null) return plot.setData(data)
  const axis = { stroke: colour("soft"), grid: { stroke: colour("line") }, ticks: { stroke: colour("line") } }
  plot = new uPlot(
    {
      width: place.clientWidth,
      height: 220,
      scales: {
        x: { time: false, range: () => [-.5, Math.max(6, ended.length) - .5] },
        y: { range: (_, __, most) => [0, Math.max(1, most)] },
        s: { range: (_, __, most) => [0, most] }
      },
      axes: [{
        ...axis,
        values: (_, places) => places.map((place) => ended[place] ?? ""),
        space: 90,
        incrs: [1, 2, 5, 10, 20, 50]
      }, {
        ...axis,
        size: 60
      }, { ...axis, scale: "s", side: 1, grid: { show: false }, size: 60 }],
      series: [
        { value: (_, place) => ended[place] ?? "", label: text.ended },
        { label: text.pushed, stroke: colour("push"), fill: colour("push"), paths: bars(-1), points: { show: false } },
        { label: text.pulled, stroke: colour("pull"), width: 2, paths: bars(1), points: { show: false } },
        {
          label: `${text.duration} (${text.seconds})`,
          scale: "s",
          stroke: colour("soft"),
          dash: [2, 4],
          points: { show: true }
        }
      ]
    },
    data,
    place
  )
}

const bars = (align) => uPlot.paths.bars({ align, size: [.3, 24] })

const redraw = () => {
  if (plot === null) return
  plot.destroy()
  plot = null
  draw()
}

const show = () => {
  if (view === null) return
  const [sign, words, kind] = isLost ? ["✕", text.lost(at(view.nowMs)), "bad"] : headline()
  write(byId("headline"), `${sign} ${words}`)
  byId("headline").className = kind
  write(byId("detail"), isLost ? "" : view.cycle.error ?? "")
  showCycle(view)
  showDatabases(view)
  showWaiting(view)
  showTables(view)
  write(byId("version"), text.version(view.version))
}

// ---------------------------------------------------------------------------------------------------------------------
// Where it comes from
// ---------------------------------------------------------------------------------------------------------------------

const post = (path, body) =>
  fetch(`api/${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body)
  }).catch(() => null)

/** Asks for something, and says what became of it. */
const act = async (button, action, body, done) => {
  button.setAttribute("aria-disabled", "true")
  const response = await post(action, body)
  button.removeAttribute("aria-disabled")
  const refusal = response === null ? text.unanswered : (await response.json().catch(() => ({}))).message
  write(byId("done"), response?.ok === true ? done : refusal ?? text.unanswered)
}

const readCycles = async () => {
  const response = await fetch("api/cycles")
  if (!response.ok) return
  cycles = await response.json()
  showCycles()
}

const take = (next) => {
  const before = view?.cycle.last?.endedMs
  view = next
  offsetMs = next.nowMs - Date.now()
  isLost = false
  byId("login").hidden = true
  byId("shown").hidden = false
  show()
  const { last } = next.cycle
  if (before === undefined || (last?.endedMs !== before && last?.outcome !== "idle")) void readCycles()
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

byId("sync").addEventListener("click", ({ currentTarget }) => void act(currentTarget, "sync", {}, text.asked))
document.documentElement.lang = language
for (const node of document.querySelectorAll("[data-text]")) node.textContent = text[node.dataset.text]
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw)
new ResizeObserver(() => plot?.setSize({ width: byId("chart").clientWidth, height: 220 })).observe(byId("chart"))
setInterval(show, 1_000)
await begin()
