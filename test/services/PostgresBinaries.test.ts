import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Fs from "node:fs/promises"
import * as Os from "node:os"
import * as Path from "node:path"
import { copyOnce } from "../../src/services/PostgresBinaries.ts"

/** A package as npm leaves it with a closed umask and without install scripts, and where its copy shall be. */
const unpacked = Effect.gen(function*() {
  const root = yield* Effect.acquireRelease(
    Effect.promise(() => Fs.mkdtemp(Path.join(Os.tmpdir(), "vaivem-test-"))),
    (root) => Effect.promise(() => Fs.rm(root, { recursive: true }))
  )
  const native = Path.join(root, "native")
  yield* Effect.promise(async () => {
    await Fs.mkdir(Path.join(native, "bin"), { recursive: true, mode: 0o700 })
    await Fs.mkdir(Path.join(native, "lib"), { mode: 0o700 })
    await Fs.writeFile(Path.join(native, "bin/postgres"), "program", { mode: 0o700 })
    await Fs.writeFile(Path.join(native, "lib/libpq.so.5.18"), "library", { mode: 0o600 })
    await Fs.writeFile(
      Path.join(native, "pg-symlinks.json"),
      JSON.stringify([{ source: "native/lib/libpq.so.5.18", target: "native/lib/libpq.so.5" }])
    )
  })
  return { root, native, target: Path.join(root, "copy") }
})

const text = (path: string) => Effect.promise(() => Fs.readFile(path, "utf8"))
const mode = (path: string) => Effect.promise(async () => (await Fs.stat(path)).mode & 0o777)

describe("copyOnce", () => {
  it.scoped("makes a copy that others can run, with the library's links", () =>
    Effect.gen(function*() {
      const { native, target } = yield* unpacked
      yield* Effect.promise(() => copyOnce(native, target))
      assert.strictEqual(yield* text(Path.join(target, "lib/libpq.so.5")), "library")
      assert.strictEqual(yield* mode(target), 0o755)
      assert.strictEqual(yield* mode(Path.join(target, "bin/postgres")), 0o755)
      assert.strictEqual(yield* mode(Path.join(target, "lib/libpq.so.5")), 0o644)
    }))

  it.scoped("may be done many times at once, and leaves one whole copy", () =>
    Effect.gen(function*() {
      const { native, root, target } = yield* unpacked
      yield* Effect.promise(() => Promise.all(Array.from({ length: 8 }, () => copyOnce(native, target))))
      assert.strictEqual(yield* text(Path.join(target, "bin/postgres")), "program")
      assert.deepStrictEqual((yield* Effect.promise(() => Fs.readdir(root))).sort(), ["copy", "native"])
    }))

  it.scoped("brings back what was deleted from an old copy", () =>
    Effect.gen(function*() {
      const { native, target } = yield* unpacked
      yield* Effect.promise(() => copyOnce(native, target))
      yield* Effect.promise(() => Fs.rm(Path.join(target, "bin"), { recursive: true }))
      yield* Effect.promise(() => copyOnce(native, target))
      assert.strictEqual(yield* mode(Path.join(target, "bin/postgres")), 0o755)
    }))

  it.scoped("refuses a directory that others may write to, and a link", () =>
    Effect.gen(function*() {
      const { native, root, target } = yield* unpacked
      yield* Effect.promise(async () => {
        await Fs.mkdir(target)
        await Fs.chmod(target, 0o777)
        await Fs.symlink(native, Path.join(root, "link"))
      })
      const refused = (path: string) =>
        Effect.flip(Effect.tryPromise({ try: () => copyOnce(native, path), catch: String }))
      assert.include(yield* refused(target), "remove it")
      assert.include(yield* refused(Path.join(root, "link")), "remove it")
    }))
})
