/** The last cycles as a chart. */
import { byId } from "./elements.js"
import { at } from "./reading.js"
import { text } from "./texts.js"
import uPlot from "./uplot.js"

const movedRows = ({ deleted, inserted, updated }) => inserted + updated + deleted

let cycles = []
let plot = null
/** When each charted cycle ended, as it reads. */
let ended = []

/** A pair of bars for each cycle, one filled and one hollow, so that nobody needs their colours; and dots for how long it took. */
export const draw = (all) => {
  cycles = all
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

export const redraw = () => {
  if (plot === null) return
  plot.destroy()
  plot = null
  draw(cycles)
}

new ResizeObserver(() => plot?.setSize({ width: byId("chart").clientWidth, height: 220 })).observe(byId("chart"))
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw)
