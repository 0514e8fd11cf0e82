/** Asks the service for something, and says what became of it. */
import { byId, write } from "./elements.js"
import { text } from "./texts.js"

export const post = (path, body) =>
  fetch(`api/${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body)
  }).catch(() => null)

/** What a refusal says, as the command line says it. */
const refusalOf = async (response) =>
  response === null ? text.unanswered : (await response.json().catch(() => ({}))).message ?? text.unanswered

/** Returns whether it was done. */
export const act = async (button, action, body, done = text.doneIt) => {
  if (button.getAttribute("aria-disabled") === "true") return false
  button.setAttribute("aria-disabled", "true")
  const response = await post(action, body)
  button.removeAttribute("aria-disabled")
  say(response?.ok === true ? done : await refusalOf(response))
  return response?.ok === true
}

/** The answer; null, and why is said, when there is none. */
export const read = async (path) => {
  const response = await fetch(`api/${path}`).catch(() => null)
  if (response?.ok === true) return response.json()
  say(await refusalOf(response))
  return null
}

let forgetting = 0

const say = (what) => {
  clearTimeout(forgetting)
  write(byId("done"), what)
  forgetting = setTimeout(() => write(byId("done"), ""), saidForMs)
}

const saidForMs = 12_000
