/** Where people are told, as the settings say it, and the forms in which services there want it. Pure. */
import { DateTime, Either, Redacted } from "effect"
import type { Notice } from "./telling.ts"

export interface Webhook {
  /** A secret: whoever knows it can write there. */
  readonly url: Redacted.Redacted
  readonly format: WebhookFormat
}

export type WebhookFormat = "json" | "slack" | "discord"

export const webhookFormats: ReadonlyArray<WebhookFormat> = ["json", "slack", "discord"]

/** What is set; both may be missing. `plain` allows http to other hosts. */
export interface WebhookTexts {
  readonly url: string | undefined
  readonly format: WebhookFormat | undefined
  readonly plain: boolean
}

/** Null when no URL is set: nobody is told then. Problems name the setting, and never quote the URL. */
export const parse = ({ format, plain, url: text }: WebhookTexts): Either.Either<Webhook | null, string> => {
  if (text === undefined) return Either.right(null)
  const url = URL.canParse(text) ? new URL(text) : null
  if (url === null || !["http:", "https:"].includes(url.protocol)) {
    return Either.left("SYNC_NOTIFY_URL: it is no URL that begins with https://, as a webhook's does.")
  }
  if (url.username !== "" || url.password !== "") {
    return Either.left(
      "SYNC_NOTIFY_URL: a name or password before the @ is not sent; put the secret into path or query."
    )
  }
  if (url.protocol === "http:" && !plain && !isThisMachine(url.hostname)) {
    return Either.left(
      "SYNC_NOTIFY_URL: over http others can read it on the way. Use https, or set SYNC_ALLOW_PLAINTEXT=true."
    )
  }
  return Either.right({ url: Redacted.make(text), format: format ?? formatOf(url.hostname) })
}

/** Mattermost and others that understand `text` take `json`. */
const formatOf = (host: string): WebhookFormat => {
  if (/(^|\.)slack(-gov)?\.com$/.test(host)) return "slack"
  return /(^|\.)discord(app)?\.com$/.test(host) ? "discord" : "json"
}

const isThisMachine = (host: string): boolean => /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(host)

/** The JSON that is sent. Nobody is mentioned by it, whatever a table is named. */
export const bodyOf = (format: WebhookFormat, notice: Notice, atMs: number): unknown => {
  const text = `vaivem: ${cut(notice.text.replace(/\s*\n\s*/g, " "))}`
  switch (format) {
    case "slack":
      return { text: text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;") }
    case "discord":
      return { content: text, allowed_mentions: { parse: [] } }
    case "json": {
      const { event, table } = notice
      return { source: "vaivem", event, table, text, at: DateTime.formatIso(DateTime.unsafeMake(atMs)) }
    }
  }
}

/** Discord takes 2,000 characters. */
const cut = (text: string): string => text.length <= textMax ? text : `${text.slice(0, textMax - 1)}…`

const textMax = 1_900
