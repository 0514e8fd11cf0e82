/** Makes and changes the page's nodes. Texts are written as texts: no name, message or value can become markup. */

export const byId = (id) => document.getElementById(id)

export const element = (name, options = {}, ...children) => {
  const made = document.createElement(name)
  for (const [key, value] of Object.entries(options)) made.setAttribute(key, value)
  made.append(...children)
  return made
}

/** Writes only what changed: a reader's selection stays, and a screen reader says nothing twice. */
export const write = (node, value) => {
  if (node.textContent !== value) node.textContent = value
}

/** Pairs of a term and its description; the nodes stay. */
export const describe = (list, pairs) => {
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

/**
 * Rows under headings; the first cell of each is the row's own heading. A cell is a text, or a button: what it says, what it
 * is called, and what pressing it does. Cells are right-aligned where `numbers` says.
 */
export const tabulate = (table, headings, rows, numbers) => {
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
    for (const [index, value] of cells.entries()) {
      if (typeof value === "string") write(nodes[index], value)
      else press(nodes[index], value)
    }
  }
}

/** What the buttons in tables do now. */
const presses = new WeakMap()

/** The button stays, so that it keeps the focus. */
const press = (place, { label, name, onPress }) => {
  const found = place.querySelector("button")
  const pressed = found ?? place.appendChild(button(label, () => presses.get(place)()))
  presses.set(place, () => onPress(pressed))
  write(pressed, label)
  if (pressed.getAttribute("aria-label") !== name) pressed.setAttribute("aria-label", name)
}

export const button = (label, onPress) => {
  const made = element("button", { type: "button" }, label)
  made.addEventListener("click", () => onPress(made))
  return made
}
