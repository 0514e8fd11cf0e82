/** What a server may say that no real one can be made to say at will. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Either } from "effect"
import * as Net from "node:net"
import { parseUrl } from "../../src/domain/ConnectionTarget.ts"
import * as PgSession from "../../src/services/pg/PgSession.ts"

const message = (type: string, body: Buffer) => {
  const length = Buffer.alloc(4)
  length.writeInt32BE(4 + body.length)
  return Buffer.concat([Buffer.from(type), length, body])
}

/** Lets everybody in, and in the same bytes says that the connection is terminated. */
const letsInAndEnds = Buffer.concat([
  message("R", Buffer.alloc(4)),
  message("Z", Buffer.from("I")),
  message(
    "E",
    Buffer.from("SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0")
  )
])

const server = Effect.acquireRelease(
  Effect.async<Net.Server>((resume) => {
    const listening = Net.createServer((socket) => {
      socket.on("error", () => {})
      socket.once("data", () => socket.end(letsInAndEnds))
    })
    listening.listen(0, "127.0.0.1", () => resume(Effect.succeed(listening)))
  }),
  (listening) => Effect.sync(() => listening.close())
)

describe("a connection that ends with the bytes that open it", () => {
  it.scopedLive("fails its first statement, and takes no process along", () =>
    Effect.gen(function*() {
      const { port } = (yield* server).address() as Net.AddressInfo
      const target = Either.getOrThrow(parseUrl("replit", `postgresql://user:password@127.0.0.1:${port}/db`))
      const session = yield* PgSession.make(target)
      const error = yield* Effect.flip(session.query("select 1"))
      assert.strictEqual(error._tag, "Unavailable")
    }))
})
