/**
 * A TCP proxy before a PostgreSQL server, for tests and benchmarks: it counts round trips, adds latency, and makes the
 * network fail. It understands nothing of what passes but the end of a session's set-up, so TLS must be off.
 */
import { NodeStream } from "@effect/platform-node"
import { Clock, Data, Duration, Effect, Exit, FiberSet, Redacted, type Scope, Stream } from "effect"
import * as Net from "node:net"

export class ProxyError extends Data.TaggedError("ProxyError")<{ readonly message: string; readonly cause: unknown }> {}

export interface ProxyOptions {
  /** Added to everything that passes, each way. Default: none. */
  readonly latency?: Duration.DurationInput
  /** The address that the server sees, as 127.0.1.7: it tells whose connection this is. Default: the system's choice. */
  readonly localAddress?: string
}

export interface Proxy {
  /** The URL that the proxy was made for, through it. */
  readonly url: Redacted.Redacted
  /**
   * Round trips of all connections so far: what a client sends after the server spoke, and the answer. Setting a
   * connection up (start-up packet, password) isn't counted, nor is the farewell, which has no answer.
   */
  readonly roundTrips: Effect.Effect<ReadonlyArray<RoundTrip>>
  /** Those that set connections up. */
  readonly setUpTrips: Effect.Effect<ReadonlyArray<RoundTrip>>
  /** Resets every open connection, as a router that restarts does. New ones are let through. */
  readonly cut: Effect.Effect<void>
  /** Holds back all that comes, on new connections too: no error, no end, only silence. */
  readonly stall: Effect.Effect<void>
  /** Ends a stall: what was held back goes on its way. */
  readonly resume: Effect.Effect<void>
  /** Lets so many bytes a second pass on each connection, each way; null lets all pass. */
  readonly throttle: (bytesPerSecond: number | null) => Effect.Effect<void>
}

/** Milliseconds of the proxy's clock: the question's first bytes, the answer's last. */
export interface RoundTrip {
  readonly sentMs: number
  readonly answeredMs: number
}

/** Listens on a free port of 127.0.0.1 until the scope closes. */
export const make = (
  url: Redacted.Redacted,
  options: ProxyOptions = {}
): Effect.Effect<Proxy, ProxyError, Scope.Scope> =>
  Effect.gen(function*() {
    const { hostname, port } = new URL(Redacted.value(url))
    const trips: Array<Mutable<RoundTrip>> = []
    const wire: Wire = {
      latencyMs: Duration.toMillis(options.latency ?? 0),
      gate: yield* Effect.makeLatch(true),
      bytesPerSecond: null
    }
    const setUps: Array<Mutable<RoundTrip>> = []
    const relays = yield* FiberSet.make()
    const fork = yield* FiberSet.runtime(relays)()
    const { localAddress } = options
    const server = {
      host: hostname,
      port: Number(port || 5432),
      allowHalfOpen: true,
      ...(localAddress === undefined ? {} : { localAddress })
    }
    const ownPort = yield* listen((client) =>
      fork(Effect.ignore(Effect.scoped(relay(client, server, wire, makeCounter(trips, setUps)))))
    )
    return {
      url: Redacted.make(Object.assign(new URL(Redacted.value(url)), { host: `127.0.0.1:${ownPort}` }).href),
      roundTrips: Effect.sync(() => structuredClone(trips)),
      setUpTrips: Effect.sync(() => structuredClone(setUps)),
      cut: FiberSet.clear(relays),
      stall: wire.gate.close,
      resume: wire.gate.open,
      throttle: (bytesPerSecond) =>
        Effect.sync(() => {
          wire.bytesPerSecond = bytesPerSecond
        })
    }
  })

interface Wire {
  readonly latencyMs: number
  /** Closed while the network is silent. */
  readonly gate: Effect.Latch
  bytesPerSecond: number | null
}

const listen = (onClient: (client: Net.Socket) => void) =>
  Effect.acquireRelease(
    Effect.async<Net.Server, ProxyError>((resume) => {
      const server = Net.createServer({ allowHalfOpen: true }, onClient)
      server.once("error", (cause) => resume(Effect.fail(failed("listen", cause))))
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.sync(() => server.close())
  ).pipe(Effect.map((server) => (server.address() as Net.AddressInfo).port))

/** One connection, until both ends have said all. An end that breaks breaks the other. */
const relay = (client: Net.Socket, target: Net.NetConnectOpts, wire: Wire, counter: Counter) =>
  Effect.gen(function*() {
    yield* owned(client)
    const server = yield* owned(Net.connect(target))
    yield* Effect.all([pump(client, server, wire, counter.asked), pump(server, client, wire, counter.answered)], {
      concurrency: 2
    })
  }).pipe(inRealTime)

const owned = (socket: Net.Socket) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      socket.setNoDelay(true)
      // Whoever reads or writes learns of an error; one that comes after that interests nobody.
      return socket.on("error", () => {})
    }),
    (socket, exit) => Effect.sync(() => Exit.isSuccess(exit) ? socket.destroy() : socket.resetAndDestroy())
  )

const pump = (from: Net.Socket, to: Net.Socket, wire: Wire, note: Note) =>
  NodeStream.fromReadable<ProxyError, Uint8Array>(() => from, (cause) => failed("read", cause), { closeOnDone: false })
    .pipe(
      Stream.mapEffect((bytes) =>
        Effect.map(now, (nowMs) => {
          note(bytes, nowMs)
          return { bytes, dueMs: nowMs + wire.latencyMs }
        })
      ),
      // Latency must not become a limit of throughput: what comes meanwhile waits its own time.
      Stream.buffer({ capacity: 64 }),
      Stream.runForEach(({ bytes, dueMs }) =>
        (wire.latencyMs === 0 ? Effect.void : sleepUntil(dueMs)).pipe(
          Effect.zipRight(wire.gate.whenOpen(write(to, bytes))),
          Effect.zipRight(Effect.suspend(() => throttled(bytes.length, wire.bytesPerSecond)))
        )
      ),
      Effect.zipRight(Effect.sync(() => to.end()))
    )

const throttled = (bytes: number, bytesPerSecond: number | null) =>
  bytesPerSecond === null ? Effect.void : Effect.sleep((bytes / bytesPerSecond) * 1000)

/** Milliseconds with fractions: a round trip to a server next door takes less than one. */
const now = Effect.map(Clock.currentTimeNanos, (nanos) => Number(nanos) / 1e6)

const sleepUntil = (ms: number) => Effect.flatMap(now, (nowMs) => nowMs < ms ? Effect.sleep(ms - nowMs) : Effect.void)

const write = (socket: Net.Socket, bytes: Uint8Array) =>
  Effect.async<void, ProxyError>((resume) => {
    socket.write(bytes, (cause) => resume(cause ? Effect.fail(failed("write", cause)) : Effect.void))
  })

type Note = (bytes: Uint8Array, nowMs: number) => void

interface Counter {
  readonly asked: Note
  readonly answered: Note
}

/**
 * A question counts when its answer comes, and no earlier than the session is set up, to which belongs that it is told which
 * search_path it has: how many connections there are use for depends on what meets. Signs of life of a lease don't
 * count: how many a cycle gives depends on how long this machine takes for it.
 */
const makeCounter = (trips: Array<Mutable<RoundTrip>>, setUps: Array<Mutable<RoundTrip>>): Counter => {
  let isSetUp = false
  let asked: { readonly atMs: number; readonly of: Array<Mutable<RoundTrip>> } | null = null
  let current: Mutable<RoundTrip> | null = null
  return {
    asked: (bytes, nowMs) => {
      const text = Buffer.from(bytes)
      if (text.includes("vaivem.has_lease")) current = null
      else asked ??= { atMs: nowMs, of: isSetUp && !text.includes("set search_path = pg_catalog") ? trips : setUps }
    },
    answered: (bytes, nowMs) => {
      if (asked !== null) asked.of.push(current = { sentMs: asked.atMs, answeredMs: nowMs })
      if (current !== null) current.answeredMs = nowMs
      asked = null
      isSetUp ||= readyForQuery.equals(bytes.subarray(-readyForQuery.length))
    }
  }
}

/** The server's last word of a set-up, and of every answer. */
const readyForQuery = Buffer.from("Z\0\0\0\u0005I", "latin1")

type Mutable<A> = { -readonly [K in keyof A]: A[K] }

const failed = (what: string, cause: unknown) =>
  new ProxyError({ message: `The proxy could not ${what}: ${String(cause)}`, cause })

/** The network lives in real time, also within a test that runs on a `TestClock`. */
const inRealTime = Effect.withClock(Clock.make())
