import { assert, describe, it } from "@effect/vitest"
import { Either, FastCheck as fc, Redacted } from "effect"
import type { Notice } from "../../src/domain/telling.ts"
import { bodyOf, parse } from "../../src/domain/Webhook.ts"

const read = (url: string, more: { readonly plain?: boolean; readonly format?: "json" | "slack" | "discord" } = {}) =>
  parse({ url, format: more.format, plain: more.plain ?? false })

const formatOf = (url: string) => Either.getOrThrow(read(url))?.format

const notice: Notice = { event: "held", table: "perfis", text: "perfis is held:\n  say <approve> & go." }

describe("a webhook", () => {
  it("is nowhere unless a URL is set", () => {
    assert.deepStrictEqual(parse({ url: undefined, format: "slack", plain: false }), Either.right(null))
  })

  it("has the form that its host wants, unless another is set", () => {
    assert.strictEqual(formatOf("https://hooks.slack.com/services/T0/B0/segredo"), "slack")
    assert.strictEqual(formatOf("https://discord.com/api/webhooks/1/segredo"), "discord")
    assert.strictEqual(formatOf("https://ptb.discord.com/api/webhooks/1/segredo"), "discord")
    assert.strictEqual(formatOf("https://exemplo.pt/discord.com/slack.com"), "json")
    assert.strictEqual(formatOf("https://notslack.com/"), "json")
    const set = Either.getOrThrow(read("https://exemplo.pt/", { format: "slack" }))
    assert.strictEqual(set?.format, "slack")
    assert.strictEqual(Redacted.value(set!.url), "https://exemplo.pt/")
  })

  it("takes http to this machine only, unless plain text is allowed", () => {
    const [near, far] = ["http://127.0.0.1:8080/x", "http://exemplo.pt/segredo"]
    assert.isTrue(Either.isRight(read(near)))
    assert.isTrue(Either.isRight(read(far, { plain: true })))
    assert.isTrue(Either.isLeft(read(far)))
    assert.isTrue(Either.isLeft(read("http://127.0.0.1.exemplo.pt/")))
  })

  it("never has its URL in a problem", () => {
    for (const url of ["http://h/segredo", "segredo", "ftp://h/segredo", "https://u:segredo@h/", "https://[segredo"]) {
      const problem = Either.getOrElse(Either.flip(read(url)), () => "")
      assert.match(problem, /^SYNC_NOTIFY_URL: /)
      assert.notInclude(problem, "segredo")
    }
  })

  it("sends one line, in which nobody is mentioned", () => {
    assert.deepStrictEqual(bodyOf("json", notice, 0), {
      source: "vaivem",
      event: "held",
      table: "perfis",
      text: "vaivem: perfis is held: say <approve> & go.",
      at: "1970-01-01T00:00:00.000Z"
    })
    assert.deepStrictEqual(bodyOf("slack", notice, 0), {
      text: "vaivem: perfis is held: say &lt;approve&gt; &amp; go."
    })
    assert.deepStrictEqual(bodyOf("discord", notice, 0), {
      content: "vaivem: perfis is held: say <approve> & go.",
      allowed_mentions: { parse: [] }
    })
  })

  it("sends no more than Discord takes", () => {
    fc.assert(fc.property(fc.string({ minLength: 0, maxLength: 5_000, size: "max" }), (text) => {
      const { content } = bodyOf("discord", { ...notice, text }, 0) as { readonly content: string }
      assert.isAtMost(content.length, 2_000)
    }))
  })
})
