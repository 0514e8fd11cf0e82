/** An HTTP server on loopback that notes what it is sent and answers as a test wants: a webhook, a collector. */
import { Effect, type Scope } from "effect"
import * as Http from "node:http"
import type * as Net from "node:net"

export interface Received {
  readonly method: string
  readonly path: string
  readonly headers: Http.IncomingHttpHeaders
  readonly body: string
}

export interface WebServer {
  readonly url: string
  /** Grows as requests come. */
  readonly received: ReadonlyArray<Received>
  /** Waits until so many requests came that match. */
  readonly comes: (matches: (one: Received) => boolean, count?: number) => Effect.Effect<ReadonlyArray<Received>>
}

/** Null never answers. */
export type Answering = (request: Received, place: number) => number | null

export const webServer = (answer: Answering = () => 200): Effect.Effect<WebServer, never, Scope.Scope> =>
  Effect.gen(function*() {
    const received: Array<Received> = []
    const waiting = new Set<() => void>()
    const server = Http.createServer((request, response) => {
      const parts: Array<Buffer> = []
      request.on("data", (part: Buffer) => parts.push(part))
      request.on("end", () => {
        const { headers, method = "", url = "" } = request
        const one = { method, path: url, headers, body: Buffer.concat(parts).toString("utf8") }
        received.push(one)
        for (const look of waiting) look()
        const status = answer(one, received.length - 1)
        if (status === null) return
        response.statusCode = status
        response.end("{}")
      })
    })
    yield* Effect.acquireRelease(
      Effect.async<void>((resume) => {
        server.listen(0, "127.0.0.1", () => resume(Effect.void))
      }),
      () =>
        Effect.sync(() => {
          server.close()
          server.closeAllConnections()
        })
    )
    const { port } = server.address() as Net.AddressInfo
    return {
      url: `http://127.0.0.1:${port}`,
      received,
      comes: (matches, count = 1) =>
        Effect.async<ReadonlyArray<Received>>((resume) => {
          const look = () => {
            const found = received.filter(matches)
            if (found.length < count) return
            waiting.delete(look)
            resume(Effect.succeed(found))
          }
          waiting.add(look)
          look()
        })
    }
  })
