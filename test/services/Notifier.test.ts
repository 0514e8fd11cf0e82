import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Redacted, TestClock } from "effect"
import * as Net from "node:net"
import type { Notice } from "../../src/domain/telling.ts"
import { makeSend } from "../../src/services/Notifier.ts"
import { webServer } from "../support/WebServer.ts"

const notice: Notice = { event: "held", table: "perfis", text: "perfis is held." }

const sendTo = (url: string) => makeSend({ url: Redacted.make(`${url}/segredo`), format: "slack" })(notice)

const failureOf = (url: string) => Effect.flip(sendTo(url))

describe("the notifier", () => {
  it.scopedLive("posts JSON to the webhook, and no header of a trace", () =>
    Effect.gen(function*() {
      const { received, url } = yield* webServer(() => 204)
      yield* Effect.withSpan(sendTo(url), "cycle")
      assert.lengthOf(received, 1)
      const [{ body, headers, method, path }] = received as [typeof received[number]]
      assert.deepStrictEqual([method, path, JSON.parse(body)], ["POST", "/segredo", {
        text: "vaivem: perfis is held."
      }])
      assert.match(headers["content-type"] ?? "", /^application\/json/)
      assert.notProperty(headers, "traceparent")
      assert.notProperty(headers, "b3")
    }))

  it.scopedLive("says whether another try may get through, and never the URL", () =>
    Effect.gen(function*() {
      for (
        const [status, mayPass] of [[302, false], [400, false], [404, false], [408, true], [429, true], [
          503,
          true
        ]] as const
      ) {
        const { url } = yield* webServer(() => status)
        const error = yield* failureOf(url)
        assert.deepStrictEqual([error.reason, error.mayPass], [`HTTP ${status}`, mayPass])
      }
      const port = yield* Effect.async<number>((resume) => {
        const server = Net.createServer().listen(0, "127.0.0.1", () => {
          const { port } = server.address() as Net.AddressInfo
          server.close(() => resume(Effect.succeed(port)))
        })
      })
      const refused = yield* failureOf(`http://127.0.0.1:${port}`)
      assert.deepStrictEqual([refused.reason, refused.mayPass], ["ECONNREFUSED", true])
      assert.notInclude(JSON.stringify([refused, refused.message, refused.stack, refused.cause]), "segredo")
    }))

  it.scoped("gives up after ten seconds without an answer", () =>
    Effect.gen(function*() {
      const { comes, url } = yield* webServer(() => null)
      const sending = yield* Effect.fork(failureOf(url))
      yield* comes(() => true)
      yield* TestClock.adjust("10 seconds")
      const error = yield* Fiber.join(sending)
      assert.deepStrictEqual([error.reason, error.mayPass], ["no answer", true])
    }))
})
