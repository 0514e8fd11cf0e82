/** What goes wrong with servers and networks: one thing after the other, each for a bounded time and then mended. */
import { Duration, Effect } from "effect"
import * as Fs from "node:fs/promises"
import * as Path from "node:path"
import type { Side } from "../../src/domain/Side.ts"
import type { Chance } from "../simulation/Fate.ts"
import { connect, query } from "../support/TestClient.ts"
import type { Arena } from "./Arena.ts"
import { tableNames } from "./Arena.ts"
import type { Chronicle } from "./Chronicle.ts"
import { eitherSide, type Lives, onWires } from "./lives.ts"

interface Fault {
  readonly name: string
  readonly weight: number
  readonly run: (side: Side) => Effect.Effect<unknown, unknown>
}

/** Goes on until it is interrupted; whatever it had begun is mended then. */
export const make = (arena: Arena, lives: Lives, chance: Chance, chronicle: Chronicle) => {
  const lasting = (fromMs: number, toMs: number) => Duration.millis(fromMs + chance.below(toMs - fromMs))
  const terminate = (side: Side, which: string) =>
    query(
      arena[side].admin,
      `select pg_terminate_backend(pid) from pg_stat_activity
       where datname = 'dados' and pid <> pg_backend_pid() and ${which}`
    )
  const setting = (side: Side, name: string, value: string) =>
    query(arena[side].admin, `alter role dono ${value === "" ? `reset ${name}` : `set ${name} = ${value}`}`)

  const faults: ReadonlyArray<Fault> = [
    { name: "quiet", weight: 2, run: () => Effect.sleep(lasting(1_000, 5_000)) },
    {
      name: "one backend of the service terminated",
      weight: 3,
      run: (side) =>
        terminate(
          side,
          "pid = (select pid from pg_stat_activity where application_name = 'vaivem' order by random() limit 1)"
        )
    },
    {
      name: "all backends of the service terminated",
      weight: 2,
      run: (side) => terminate(side, "application_name = 'vaivem'")
    },
    { name: "all backends terminated", weight: 1, run: (side) => terminate(side, "backend_type = 'client backend'") },
    { name: "server restarted in immediate mode", weight: 2, run: (side) => arena[side].server.restart("immediate") },
    {
      name: "server down, then started",
      weight: 1,
      run: (side) =>
        Effect.zipRight(arena[side].server.stop("immediate"), Effect.sleep(lasting(200, 4_000))).pipe(
          Effect.ensuring(Effect.ignoreLogged(arena[side].server.start))
        )
    },
    { name: "connections cut", weight: 3, run: (side) => onWires(lives, side, ({ cut }) => cut) },
    {
      name: "connections stalled",
      weight: 3,
      run: (side) =>
        Effect.zipRight(onWires(lives, side, ({ stall }) => stall), Effect.sleep(lasting(500, 12_000))).pipe(
          Effect.ensuring(onWires(lives, side, ({ resume }) => resume))
        )
    },
    {
      name: "connections stalled, then cut",
      weight: 2,
      run: (side) =>
        Effect.zipRight(onWires(lives, side, ({ stall }) => stall), Effect.sleep(lasting(500, 6_000))).pipe(
          Effect.zipRight(onWires(lives, side, ({ cut }) => cut)),
          Effect.ensuring(onWires(lives, side, ({ resume }) => resume))
        )
    },
    {
      name: "connections throttled",
      weight: 2,
      run: (side) => {
        const bytesPerSecond = chance.pick([2_000, 20_000, 200_000])
        return Effect.zipRight(
          onWires(lives, side, ({ throttle }) => throttle(bytesPerSecond)),
          Effect.sleep(lasting(1_000, 8_000))
        ).pipe(Effect.ensuring(onWires(lives, side, ({ throttle }) => throttle(null))))
      }
    },
    {
      name: "disk full",
      weight: arena.replit.smallDisk === null ? 0 : 2,
      run: (side) =>
        Effect.zipRight(fill(arena[side].smallDisk!), Effect.sleep(lasting(500, 6_000))).pipe(
          Effect.ensuring(empty(arena[side].smallDisk!))
        )
    },
    {
      name: "temp_file_limit reached at once",
      weight: 1,
      run: (side) =>
        Effect.gen(function*() {
          yield* setting(side, "work_mem", "'64kB'")
          yield* setting(side, "temp_file_limit", "0")
          yield* terminate(side, "application_name = 'vaivem'")
          yield* Effect.sleep(lasting(500, 5_000))
        }).pipe(Effect.ensuring(
          Effect.zipRight(setting(side, "temp_file_limit", ""), setting(side, "work_mem", "")).pipe(
            Effect.zipRight(terminate(side, "application_name = 'vaivem'")),
            Effect.ignoreLogged
          )
        ))
    },
    {
      name: "a table locked",
      weight: 2,
      run: (side) => holding(side, `lock table ${chance.pick(tableNames)} in exclusive mode`)
    },
    {
      name: "rows locked",
      weight: 2,
      run: (side) => holding(side, `select from ${chance.pick(tableNames)} order by random() limit 20 for update`)
    }
  ]

  const holding = (side: Side, statement: string) =>
    Effect.scoped(Effect.gen(function*() {
      const app = yield* connect(arena[side].url)
      yield* app.query("set application_name = 'nemesis'; set lock_timeout = '3s'")
      yield* app.query(`begin; ${statement}`)
      yield* Effect.sleep(lasting(500, 8_000))
      yield* app.query("rollback")
    }))

  const one = Effect.suspend(() => {
    const side = eitherSide(chance)
    const fault = pickFault(faults, chance)
    return chronicle.tell(`${side}: ${fault.name}`).pipe(
      Effect.zipRight(chronicle.count(`fault: ${fault.name}`)),
      Effect.zipRight(fault.run(side)),
      // That a fault couldn't be made, because another is in its way, is no problem.
      Effect.catchAll((error) => chronicle.tell(`${side}: ${fault.name} did not work: ${String(error)}`)),
      Effect.zipRight(chronicle.tell(`${side}: ${fault.name}: over`)),
      Effect.zipRight(Effect.sleep(lasting(100, 3_000)))
    )
  })
  return Effect.forever(one)
}

const pickFault = (faults: ReadonlyArray<Fault>, chance: Chance): Fault => {
  let place = chance.below(faults.reduce((sum, { weight }) => sum + weight, 0))
  return faults.find(({ weight }) => (place -= weight) < 0)!
}

/** Takes what is left of the disk: more than it has, so that the file system itself says no. */
const fill = (disk: string) =>
  Effect.promise(async () => {
    const file = await Fs.open(Path.join(disk, "cheio"), "a")
    try {
      await file.writeFile(Buffer.alloc(64_000_000)).catch(() => {})
    } finally {
      await file.close()
    }
  })

const empty = (disk: string) => Effect.promise(() => Fs.rm(Path.join(disk, "cheio"), { force: true }))
