/**
 * Processes of the service, one after the other: each lives a while and is killed, frozen or stopped. Each reaches both
 * databases by proxies of its own, from an address of its own, so that the databases' records tell who wrote what.
 */
import { Duration, Effect, Redacted } from "effect"
import { type Side, sides } from "../../src/domain/Side.ts"
import type { Chance } from "../simulation/Fate.ts"
import * as Program from "../support/Program.ts"
import * as Proxy from "../support/Proxy.ts"
import { type Arena, urlsOf } from "./Arena.ts"
import type { Chronicle } from "./Chronicle.ts"

export interface Life {
  readonly name: string
  readonly proxies: Readonly<Record<Side, Proxy.Proxy>>
}

export interface Lives {
  /** Those that live now. */
  readonly now: Set<Life>
  /** What no process may do, a sentence each. */
  readonly problems: Array<string>
}

/** What every process of the service is told. */
export const environment = (urls: Readonly<Record<Side, Redacted.Redacted>>): Readonly<Record<string, string>> => ({
  DATABASE_URL: Redacted.value(urls.replit),
  EXTERNAL_DB_URL: Redacted.value(urls.external),
  SYNC_TABLES: "perfis,itens,notas",
  SYNC_INTERVAL: "1 second",
  SYNC_BRAKE: "off",
  SYNC_LOG_FORMAT: "logfmt"
})

/** Goes on until it is interrupted. `resting` says how long there is none between two. */
export const live = (
  arena: Arena,
  role: string,
  lives: Lives,
  chance: Chance,
  chronicle: Chronicle,
  resting: () => Duration.Duration
) => {
  let count = 0
  const one = Effect.gen(function*() {
    const name = `${role}${++count}`
    const urls = urlsOf(arena)
    const localAddress = `127.${role.charCodeAt(0)}.${Math.floor(count / 250)}.${1 + (count % 250)}`
    const proxies = yield* Effect.all({
      replit: Proxy.make(urls.replit, { localAddress }),
      external: Proxy.make(urls.external, { localAddress })
    })
    const life: Life = { name, proxies }
    yield* Effect.acquireRelease(
      Effect.sync(() => lives.now.add(life)),
      () => Effect.sync(() => lives.now.delete(life))
    )
    const once = role !== "A" && chance.of(0.3)
    const env = {
      ...environment({ replit: proxies.replit.url, external: proxies.external.url }),
      SYNC_LIVE: String(chance.of(0.4)),
      SYNC_BATCH_ROWS_MAX: chance.pick(["7", "100", "25000"]),
      SYNC_RETRY_FOR: "30 seconds"
    }
    const running = yield* Program.start(once ? ["--once"] : [], { env })
    yield* chronicle.count(once ? "--once runs begun" : "services started")
    let wanted = once
    yield* Effect.raceFirst(
      running.ended,
      Effect.gen(function*() {
        yield* Effect.sleep(Duration.millis(1_000 + chance.below(chance.of(0.5) ? 8_000 : 40_000)))
        const way = chance.below(10)
        if (way < 2) {
          const ms = 1_000 + chance.below(6_000)
          yield* chronicle.tell(`${name} is frozen for ${ms} ms`)
          yield* chronicle.count("services frozen")
          yield* running.signal("SIGSTOP")
          yield* Effect.sleep(ms).pipe(Effect.ensuring(running.signal("SIGCONT")))
          yield* Effect.sleep(Duration.millis(chance.below(3_000)))
        }
        const signal = way < 8 ? "SIGKILL" : "SIGTERM"
        yield* chronicle.tell(`${name} gets ${signal}`)
        yield* chronicle.count(signal === "SIGKILL" ? "kill -9" : "services stopped")
        wanted = true
        yield* running.signal(signal)
        yield* running.ended
      })
    )
    const { code, err, out } = yield* running.ended
    const said = `${err.slice(-1500)}\n${out.slice(-500)}`
    if (!wanted || code === 2) lives.problems.push(`${name} ended by itself with ${code}: ${said}`)
    if (/[Dd]efect|Unhandled|MaxListeners/.test(err)) lives.problems.push(`${name} had a defect: ${said}`)
  }).pipe(Effect.scoped)
  return Effect.forever(
    Effect.zipRight(one, Effect.suspend(() => Effect.sleep(resting())))
  )
}

/** Does something to the network of every process that lives. */
export const onWires = (lives: Lives, side: Side, act: (proxy: Proxy.Proxy) => Effect.Effect<void>) =>
  Effect.forEach([...lives.now], ({ proxies }) => act(proxies[side]), { discard: true })

/** A process that goes to the databases directly, to its end. */
export const once = (arena: Arena, ...args: ReadonlyArray<string>) =>
  Program.run(args, { env: { ...environment(urlsOf(arena)), SYNC_RETRY_FOR: "60 seconds" } })

export const eitherSide = (chance: Chance): Side => chance.pick(sides)
