import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Schedule } from "effect"
import { spawn } from "node:child_process"
import { once } from "node:events"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as EmbeddedPostgres from "../../src/services/EmbeddedPostgres.ts"
import { asAdmin, connect, freshDatabase, freshPair, freshRole, freshServer, query } from "../support/TestPostgres.ts"

const isGone = (pid: number) => {
  try {
    process.kill(pid, 0)
    return false
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "ESRCH"
  }
}

describe("EmbeddedPostgres", () => {
  it.scoped("accepts connections, speaks UTF-8 and UTC, and applies the settings", () =>
    Effect.gen(function*() {
      const server = yield* freshServer({ work_mem: "5MB" })
      const [row] = yield* query(
        server.url(),
        `select current_setting('server_encoding') as encoding, current_setting('timezone') as timezone,
                current_setting('work_mem') as work_mem, upper('ção') as upper`
      )
      assert.deepStrictEqual(row, { encoding: "UTF8", timezone: "UTC", work_mem: "5MB", upper: "ÇÃO" })
    }))

  it.scoped("asks for the password, and listens on 127.0.0.1 alone", () =>
    Effect.gen(function*() {
      const server = yield* freshServer()
      const wrong = new URL(Redacted.value(server.url()))
      wrong.password = "wrong"
      const error = yield* Effect.flip(query(Redacted.make(wrong.href), "select 1"))
      assert.strictEqual(error.code, "28P01")
      const [row] = yield* query(
        server.url(),
        "select current_setting('listen_addresses') as tcp, current_setting('unix_socket_directories') as sockets"
      )
      assert.deepStrictEqual(row, { tcp: "127.0.0.1", sockets: "" })
    }))

  it.scoped("keeps committed rows and its port through a restart and a crash", () =>
    Effect.gen(function*() {
      const server = yield* freshServer()
      yield* query(server.url(), "create table kept (id int); insert into kept values (1)")
      const client = yield* connect(server.url())
      const before = yield* server.pid
      yield* server.restart("immediate")
      yield* server.restart()
      assert.notStrictEqual(yield* server.pid, before)
      assert.strictEqual((yield* Effect.exit(client.query("select 1")))._tag, "Failure")
      assert.deepStrictEqual(yield* query(server.url(), "select id from kept"), [{ id: 1 }])
      assert.include(yield* server.log, "database system was not properly shut down")
    }))

  it.effect("leaves no process when the scope closes, and stopping twice is fine", () =>
    Effect.gen(function*() {
      const pids = yield* Effect.scoped(Effect.gen(function*() {
        const stopped = yield* freshServer()
        const first = yield* stopped.pid
        yield* stopped.stop()
        yield* stopped.stop("immediate")
        assert.isUndefined(yield* stopped.pid)
        const running = yield* freshServer()
        return [first!, (yield* running.pid)!]
      }))
      assert.deepStrictEqual(pids.map(isGone), [true, true])
    }))

  it.scoped("says what the server said when it can't start", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(EmbeddedPostgres.make({ settings: { work_mem: "a lot" } }))
      assert.strictEqual(error._tag, "EmbeddedPostgresError")
      assert.include(error.message, "work_mem")
    }))
  it.scopedLive("does not outlive a program that is killed, nor does its data", () =>
    Effect.gen(function*() {
      const fixture = Path.join(import.meta.dirname, "../support/abandonedServer.ts")
      const program = spawn(process.execPath, ["--import", "tsx", fixture], { stdio: ["ignore", "pipe", "inherit"] })
      yield* Effect.addFinalizer(() => Effect.sync(() => program.kill("SIGKILL")))
      const [output] = yield* Effect.promise(() => once(program.stdout, "data"))
      const { data, pid } = JSON.parse(String(output)) as { data: string; pid: number }
      assert.isFalse(isGone(pid))
      assert.isTrue(Fs.existsSync(data))

      program.kill("SIGKILL")
      yield* Effect.retry(
        Effect.suspend(() => isGone(pid) && !Fs.existsSync(data) ? Effect.void : Effect.fail("still there")),
        Schedule.intersect(Schedule.spaced("50 millis"), Schedule.recurs(200))
      )
    }))
})

describe("TestPostgres", () => {
  it.scoped("gives an ordinary owner a database of its own", () =>
    Effect.gen(function*() {
      const { external, replit } = yield* freshPair
      yield* query(replit, "create table perfis (id int primary key)")
      const [owner] = yield* query(
        replit,
        "select rolsuper, pg_get_userbyid(relowner) = current_user as owns from pg_roles, pg_class " +
          "where rolname = current_user and relname = 'perfis'"
      )
      assert.deepStrictEqual(owner, { rolsuper: false, owns: true })
      assert.strictEqual((yield* Effect.flip(query(external, "select from perfis"))).code, "42P01")
      assert.deepStrictEqual(
        yield* query(asAdmin(replit), "select rolsuper from pg_roles where rolname = current_user"),
        [
          { rolsuper: true }
        ]
      )
    }))

  it.effect("removes databases and roles, also those in use", () =>
    Effect.gen(function*() {
      const names = yield* Effect.scoped(Effect.gen(function*() {
        const database = yield* freshDatabase
        const role = yield* freshRole(database)
        yield* query(database, `create table perfis (id int primary key); grant all on perfis to ${role.name}`)
        const { query: ask } = yield* connect(role.url)
        const [names] = yield* ask<{ user: string; database: string }>(
          `select current_user as "user", current_database() as database from perfis right join (select) nobody on true`
        )
        return names!
      }))
      const left =
        "select count(*) from pg_database d full join pg_roles r on false where datname = $1 or rolname in ($1, $2)"
      assert.deepStrictEqual(yield* query(asAdmin(), left, [names.database, names.user]), [{ count: 0 }])
    }))

  it.scoped("reads numbers and booleans as such, and the rest as PostgreSQL prints it", () =>
    Effect.gen(function*() {
      const client = yield* connect(yield* freshDatabase)
      const [row] = yield* client.query(
        `select count(*), true as yes, null as nothing, '{1,2}'::int[] as list,
                '2024-03-10 12:00:00.123456+00'::timestamptz as at`
      )
      assert.deepStrictEqual(row, {
        count: 1,
        yes: true,
        nothing: null,
        at: "2024-03-10 12:00:00.123456+00",
        list: "{1,2}"
      })
    }))
})
