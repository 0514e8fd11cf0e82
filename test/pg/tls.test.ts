/** TLS to real servers: a certificate of the right name, one of another name, and none. */
import { NodeContext } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { ConfigProvider, Context, Effect, Layer, Redacted } from "effect"
import { execFile } from "node:child_process"
import * as Fs from "node:fs/promises"
import * as Os from "node:os"
import * as Path from "node:path"
import { promisify } from "node:util"
import * as PgDatabase from "../../src/services/PgDatabase.ts"
import { SyncConfig } from "../../src/services/SyncConfig.ts"
import { freshServer } from "../support/TestServer.ts"

/** An authority, another one that signed nothing, and servers with certificates for `localhost`, for another host, and without. */
class Servers extends Context.Tag("test/tls/Servers")<Servers, {
  readonly ca: string
  readonly otherCa: string
  readonly named: Redacted.Redacted
  readonly misnamed: Redacted.Redacted
}>() {
  static readonly layer = Layer.scoped(
    this,
    Effect.gen(function*() {
      const folder = yield* Effect.acquireRelease(
        Effect.promise(() => Fs.mkdtemp(Path.join(Os.tmpdir(), "vaivem-tls-"))),
        (folder) => Effect.promise(() => Fs.rm(folder, { recursive: true, force: true }))
      )
      const file = (name: string) => Path.join(folder, name)
      yield* Effect.promise(async () => {
        // The server may run as another user.
        await Fs.chmod(folder, 0o755)
        for (const ca of ["ca", "other"]) {
          await openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj", `/CN=${ca}`, {
            "-keyout": file(`${ca}.key`),
            "-out": file(`${ca}.crt`)
          })
        }
        for (const host of ["localhost", "elsewhere.example"]) {
          await Fs.writeFile(file(`${host}.ext`), `subjectAltName=DNS:${host}`)
          await openssl("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj", `/CN=${host}`, {
            "-keyout": file(`${host}.key`),
            "-out": file(`${host}.csr`)
          })
          await openssl("x509 -req -days 2 -set_serial", "1", {
            "-in": file(`${host}.csr`),
            "-CA": file("ca.crt"),
            "-CAkey": file("ca.key"),
            "-extfile": file(`${host}.ext`),
            "-out": file(`${host}.crt`)
          })
        }
      })
      const serving = (host: string) =>
        Effect.gen(function*() {
          const server = yield* freshServer()
          const { pathname } = yield* directoryOf(server.url())
          yield* Effect.promise(async () => {
            const { gid, uid } = await Fs.stat(Path.join(pathname, "PG_VERSION"))
            for (const kind of ["crt", "key"]) {
              const to = Path.join(pathname, `server.${kind}`)
              await Fs.copyFile(file(`${host}.${kind}`), to)
              await Fs.chmod(to, 0o600)
              await Fs.chown(to, uid, gid)
            }
          })
          yield* ask(server.url(), "alter system set ssl = on")
          yield* server.restart()
          return server.url()
        })
      const [named, misnamed] = yield* Effect.all([serving("localhost"), serving("elsewhere.example")], {
        concurrency: 2
      })
      return { ca: file("ca.crt"), otherCa: file("other.crt"), named, misnamed }
    }).pipe(Effect.orDie)
  )
}

const openssl = (args: string, name: string, files: Readonly<Record<string, string>>) =>
  promisify(execFile)("openssl", [...args.split(" "), name, ...Object.entries(files).flat()])

const ask = (url: Redacted.Redacted, text: string) =>
  Effect.flatMap(Effect.promise(() => import("../support/TestClient.ts")), ({ query }) => query(url, text))

const directoryOf = (url: Redacted.Redacted) =>
  Effect.map(ask(url, "show data_directory"), (rows) => ({ pathname: String(rows[0]!["data_directory"]) }))

/** Through the settings, as the program comes to it; `localhost` is a name, 127.0.0.1 is not. */
const hello = (url: Redacted.Redacted, parameters: string, host = "localhost") =>
  Effect.gen(function*() {
    const { port, password, username } = new URL(Redacted.value(url))
    const text = `postgresql://${username}:${password}@${host}:${port}/postgres${parameters}`
    const env = new Map([["DATABASE_URL", text], ["EXTERNAL_DB_URL", text]])
    const { externalUrl } = yield* Effect.provide(
      SyncConfig,
      SyncConfig.layerFromEnv({ file: "/dev/null" }).pipe(
        Layer.provide(Layer.setConfigProvider(ConfigProvider.fromMap(env)))
      )
    )
    const database = yield* PgDatabase.make(externalUrl)
    return yield* database.hello
  }).pipe(Effect.scoped, Effect.provide(NodeContext.layer))

const refusal = (...args: Parameters<typeof hello>) => Effect.map(Effect.flip(hello(...args)), ({ message }) => message)

layer(Servers.layer, { excludeTestServices: true, timeout: 60_000 })("TLS", (it) => {
  it.effect("verify-full accepts a certificate of the authority and the name, and nothing else", () =>
    Effect.gen(function*() {
      const { ca, misnamed, named, otherCa } = yield* Servers
      const full = `?sslmode=verify-full&sslrootcert=${encodeURIComponent(ca)}`
      assert.isTrue((yield* hello(named, full)).tls)
      assert.match(yield* refusal(misnamed, full), /certificate/)
      assert.match(yield* refusal(named, full, "127.0.0.1"), /certificate/)
      assert.match(
        yield* refusal(named, full.replace(encodeURIComponent(ca), encodeURIComponent(otherCa))),
        /certificate/
      )
      assert.match(yield* refusal(named, "?sslmode=verify-full"), /certificate/)
    }))

  it.effect("verify-ca looks at the authority and not at the name; so does require, once it has an authority", () =>
    Effect.gen(function*() {
      const { ca, misnamed, otherCa } = yield* Servers
      for (const mode of ["verify-ca", "require"]) {
        assert.isTrue((yield* hello(misnamed, `?sslmode=${mode}&sslrootcert=${encodeURIComponent(ca)}`)).tls)
        assert.match(
          yield* refusal(misnamed, `?sslmode=${mode}&sslrootcert=${encodeURIComponent(otherCa)}`),
          /certificate/
        )
      }
    }))

  it.effect("require encrypts and looks at no certificate, and doesn't go on without TLS", () =>
    Effect.gen(function*() {
      const { misnamed, named } = yield* Servers
      assert.isTrue((yield* hello(misnamed, "?sslmode=require")).tls)
      assert.isFalse((yield* hello(named, "?sslmode=disable")).tls)
      yield* ask(named, "alter system set ssl = off")
      yield* ask(named, "select pg_reload_conf()")
      const refused = refusal(named, "?sslmode=require")
      assert.match(
        yield* Effect.repeat(Effect.orElseSucceed(refused, () => ""), { until: (message) => message !== "" }),
        /does not support SSL|without TLS|SSL/i
      )
    }))
})
