import { Error as PlatformError, FileSystem } from "@effect/platform"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Duration, Effect, Either, Layer, Redacted } from "effect"
import { SyncConfig } from "../../src/services/SyncConfig.ts"
import { variables } from "../../src/services/variables.ts"

const urls = {
  DATABASE_URL: "postgresql://postgres:password@helium/heliumdb?sslmode=disable",
  EXTERNAL_DB_URL: "postgresql://ana:sec@ep-x-1.eu.aws.neon.tech/neondb?sslmode=require"
}

const perfis = { schema: "public", name: "perfis" }
const pedidos = { schema: "loja", name: "pedidos" }

/** A file system with these files, and no other. */
const files = (contents: Readonly<Record<string, string>>) =>
  FileSystem.layerNoop({
    readFileString: (path) =>
      contents[path] === undefined
        ? Effect.fail(
          new PlatformError.SystemError({ reason: "NotFound", module: "FileSystem", method: "readFileString" })
        )
        : Effect.succeed(contents[path])
  })

const environment = (variables: Readonly<Record<string, string>>) =>
  Layer.setConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(variables))))

const read = (
  variables: Readonly<Record<string, string>>,
  fileSystem: Layer.Layer<FileSystem.FileSystem> = files({}),
  file?: string
) =>
  SyncConfig.pipe(
    Effect.provide(SyncConfig.layerFromEnv(file === undefined ? {} : { file })),
    Effect.provide(fileSystem),
    Effect.provide(environment(variables))
  )

const problem = (
  variables: Readonly<Record<string, string>>,
  fileSystem?: Layer.Layer<FileSystem.FileSystem>,
  file?: string
) =>
  Effect.map(Effect.either(read(variables, fileSystem, file)), (found) => {
    if (Either.isRight(found)) return assert.fail("these settings were accepted")
    assert.strictEqual(found.left._tag, "ActionNeeded")
    assert.notInclude(found.left.message, "sec@")
    return found.left.message
  })

const envFile = (text: string) => files({ ".env.sync": text })

describe("the settings", () => {
  it.effect("have defaults for all but the two URLs", () =>
    Effect.gen(function*() {
      const config = yield* read(urls)
      assert.strictEqual(config.replitUrl.kind, "replit-helium")
      assert.strictEqual(config.externalUrl.kind, "neon-direct")
      assert.deepStrictEqual(config.tables, [perfis])
      assert.strictEqual(config.stampOf(perfis), "updated_at")
      assert.isTrue(config.stampIsDefault(perfis))
      assert.deepStrictEqual(config.hiddenOf(perfis), [])
      assert.strictEqual(config.policyOf(perfis), "last-write-wins")
      assert.strictEqual(Duration.toMinutes(config.interval), 5)
      assert.strictEqual(config.batchRowsMax, 25_000)
      assert.strictEqual(Duration.toDays(config.retention), 7)
      assert.strictEqual(Duration.toDays(config.keepConflicts), 90)
      assert.strictEqual(Duration.toDays(config.abandonedAfter ?? 0), 30)
      assert.strictEqual(config.queueMax, 1_000_000_000)
      assert.strictEqual(Duration.toHours(config.cycleMax), 2)
      assert.deepStrictEqual([config.logFormat, config.autoSetup, config.touch], ["auto", true, true])
    }))

  it.effect("have the defaults that are told: to write them down changes nothing", () =>
    Effect.gen(function*() {
      const written = Object.entries(variables).flatMap(([name, variable]) =>
        "default" in variable ? [[name, variable.default] as const] : []
      )
      assert.isAbove(written.length, 20)
      const port = { SYNC_HTTP_PORT: "9187" }
      const values = (config: SyncConfig["Type"]) => ({
        ...config,
        stampOf: config.stampOf(perfis),
        stampIsDefault: null,
        policyOf: config.policyOf(perfis),
        hiddenOf: config.hiddenOf(perfis)
      })
      const told = values(yield* read({ ...urls, ...port, ...Object.fromEntries(written) }))
      assert.deepStrictEqual(told, values(yield* read({ ...urls, ...port })))
    }))

  it.effect("are read from the environment", () =>
    Effect.gen(function*() {
      const config = yield* read({
        ...urls,
        SYNC_TABLES: "perfis, loja.pedidos",
        SYNC_STAMP: "alterado_em, loja.pedidos=\"Em\"",
        SYNC_CONFLICT_POLICY: "replit-wins,loja.pedidos=External-Wins",
        SYNC_HIDE_COLUMNS: "perfis.email,loja.pedidos.\"CPF\", perfis.nome",
        SYNC_INTERVAL: " 90 Seconds ",
        SYNC_BATCH_ROWS_MAX: "1000000",
        SYNC_CYCLE_MAX: "30 minutes",
        SYNC_RETENTION: "0",
        SYNC_KEEP_CONFLICTS: "1 day",
        SYNC_ABANDONED_AFTER: "never",
        SYNC_QUEUE_MAX: "never",
        SYNC_LOG_FORMAT: "JSON",
        SYNC_AUTO_SETUP: "false",
        SYNC_TOUCH: "No",
        SYNC_BRAKE: "5 rows, 2.5 %"
      })
      assert.deepStrictEqual(config.brake, { rows: 5, percent: 2.5 })
      assert.deepStrictEqual(config.tables, [perfis, pedidos])
      assert.deepStrictEqual([config.stampOf(perfis), config.stampOf(pedidos)], ["alterado_em", "Em"])
      assert.isFalse(config.stampIsDefault(perfis))
      assert.deepStrictEqual([config.hiddenOf(perfis), config.hiddenOf(pedidos)], [["email", "nome"], ["CPF"]])
      assert.deepStrictEqual([config.policyOf(perfis), config.policyOf(pedidos)], ["replit-wins", "external-wins"])
      assert.strictEqual(Duration.toSeconds(config.interval), 90)
      assert.strictEqual(config.batchRowsMax, 1_000_000)
      assert.strictEqual(Duration.toMillis(config.retention), 0)
      assert.strictEqual(Duration.toDays(config.keepConflicts), 1)
      assert.isNull(config.abandonedAfter)
      assert.isNull(config.queueMax)
      assert.strictEqual(Duration.toMinutes(config.cycleMax), 30)
      assert.deepStrictEqual([config.logFormat, config.autoSetup, config.touch], ["json", false, false])
    }))

  it.effect("say when external is visited and what wakes the service", () =>
    Effect.gen(function*() {
      const usual = yield* read(urls)
      assert.deepStrictEqual([usual.schedule, usual.live, usual.listensTo], ["spaced", false, []])
      assert.strictEqual(Duration.toMinutes(usual.maxInterval), 60)
      const eco = yield* read({ ...urls, SYNC_SCHEDULE: "Eco", SYNC_MAX_INTERVAL: "2 hours" })
      assert.deepStrictEqual([eco.schedule, eco.listensTo], ["eco", ["replit"]])
      assert.strictEqual(Duration.toHours(eco.maxInterval), 2)
      assert.deepStrictEqual((yield* read({ ...urls, SYNC_LIVE: "yes" })).listensTo, ["replit", "external"])
      const refused = (env: Readonly<Record<string, string>>) =>
        Effect.map(Effect.flip(read({ ...urls, ...env })), ({ message }) => message)
      assert.match(yield* refused({ SYNC_SCHEDULE: "hourly" }), /SYNC_SCHEDULE: hourly is none of spaced, eco/)
      assert.match(
        yield* refused({ SYNC_INTERVAL: "10 minutes", SYNC_MAX_INTERVAL: "5 minutes" }),
        /SYNC_MAX_INTERVAL: 5 minutes is shorter than SYNC_INTERVAL \(10 minutes\)/
      )
      assert.match(
        yield* refused({ SYNC_LIVE: "true", SYNC_SCHEDULE: "eco" }),
        /SYNC_LIVE: live mode keeps external awake/
      )
    }))

  it.effect("say whom the service tells, and never the URL in a problem", () =>
    Effect.gen(function*() {
      assert.isNull((yield* read(urls)).notify)
      assert.isNull((yield* read({ ...urls, SYNC_NOTIFY_FORMAT: "slack" })).notify)
      const url = "https://exemplo.pt/segredo"
      const { notify } = yield* read({ ...urls, SYNC_NOTIFY_URL: url, SYNC_NOTIFY_FORMAT: "Slack" })
      assert.strictEqual(notify?.format, "slack")
      assert.notInclude(JSON.stringify(notify), "segredo")
      const refused = (env: Readonly<Record<string, string>>) =>
        Effect.map(Effect.flip(read({ ...urls, ...env })), ({ message }) => message)
      assert.match(
        yield* refused({ SYNC_NOTIFY_URL: "http://exemplo.pt/segredo" }),
        /^SYNC_NOTIFY_URL: over http others can read it on the way\. Use https, or set SYNC_ALLOW_PLAINTEXT=true\.$/
      )
      assert.match(
        yield* refused({ SYNC_NOTIFY_FORMAT: "irc" }),
        /^SYNC_NOTIFY_FORMAT: irc is none of json, slack, discord\.$/
      )
      const plain = yield* read({ ...urls, SYNC_NOTIFY_URL: "http://exemplo.pt/", SYNC_ALLOW_PLAINTEXT: "true" })
      assert.strictEqual(plain.notify?.format, "json")
    }))

  it.effect("take in whole schemas, and tables of them can be named elsewhere", () =>
    Effect.gen(function*() {
      const config = yield* read({
        ...urls,
        SYNC_TABLES: "*, loja.*, arquivo.notas",
        SYNC_EXCLUDE: "sessoes, loja.\"Log\"",
        SYNC_STAMP: "loja.pedidos=em"
      })
      assert.deepStrictEqual(config.tables, [{ schema: "arquivo", name: "notas" }])
      assert.deepStrictEqual(config.schemas, ["public", "loja"])
      const sessoes = { schema: "public", name: "sessoes" }
      assert.deepStrictEqual(config.excluded, { names: [sessoes, { schema: "loja", name: "Log" }], schemas: [] })
      assert.deepStrictEqual([config.stampOf(pedidos), config.stampOf(perfis)], ["em", "updated_at"])
    }))

  it.effect("of single tables leave the others at the default", () =>
    Effect.gen(function*() {
      const config = yield* read({ ...urls, SYNC_TABLES: "perfis,loja.pedidos", SYNC_STAMP: "perfis=em" })
      assert.deepStrictEqual([config.stampOf(perfis), config.stampOf(pedidos)], ["em", "updated_at"])
      assert.deepStrictEqual([config.stampIsDefault(perfis), config.stampIsDefault(pedidos)], [false, true])
    }))

  it.effect("of how external's changes are found are by triggers, or say how long and how often", () =>
    Effect.gen(function*() {
      const plain = yield* read(urls)
      assert.strictEqual(plain.externalCapture, "triggers")
      assert.strictEqual(Duration.toMinutes(plain.externalWindow), 15)
      const config = yield* read({
        ...urls,
        EXTERNAL_CAPTURE: "Timestamp",
        EXTERNAL_WINDOW: "1 hour",
        EXTERNAL_SWEEP_EVERY: "30 minutes"
      })
      assert.strictEqual(config.externalCapture, "timestamp")
      assert.deepStrictEqual([config.externalWindow, config.externalSweepEvery].map(Duration.toMinutes), [60, 30])
      assert.strictEqual(Duration.toMillis((yield* read({ ...urls, EXTERNAL_SWEEP_EVERY: "0" })).externalSweepEvery), 0)
    }))

  it.effect("given by a program have the same defaults", () =>
    Effect.gen(function*() {
      const { externalUrl, replitUrl } = yield* read(urls)
      const given = yield* Effect.provide(
        SyncConfig,
        SyncConfig.layer({ replitUrl, externalUrl, interval: "1 second" })
      )
      assert.strictEqual(Duration.toSeconds(given.interval), 1)
      assert.deepStrictEqual(given.tables, [perfis])
    }))
})

describe("a setting that is wrong", () => {
  const wrong: ReadonlyArray<readonly [variables: Record<string, string>, words: string]> = [
    [{ DATABASE_URL: "" }, "DATABASE_URL is not set."],
    [{ EXTERNAL_DB_URL: " " }, "EXTERNAL_DB_URL is not set."],
    [
      { DATABASE_URL: "mysql://u:sec@h/d" },
      "DATABASE_URL is not a PostgreSQL URL. It must look like postgresql://user:"
    ],
    [
      { EXTERNAL_DB_URL: "postgres://u:sec@ep-x-1-pooler.eu.aws.neon.tech/d" },
      "EXTERNAL_DB_URL leads to a connection pooler (ep-x-1-pooler.eu.aws.neon.tech)"
    ],
    [{ DATABASE_URL: "postgres://u:sec@ep-x-1-pooler.eu.aws.neon.tech/d" }, "instead: ep-x-1.eu.aws.neon.tech"],
    [
      { EXTERNAL_DB_URL: "postgres://u:sec@h/d?sslrootcert=ca.pem" },
      "EXTERNAL_DB_URL names a file that can't be read: sslrootcert=ca.pem (there is no such file)."
    ],
    [{ SYNC_TABLES: "a b" }, "SYNC_TABLES: a comma or the end is expected at character 3, but there is b."],
    [{ SYNC_TABLES: urls.EXTERNAL_DB_URL }, "SYNC_TABLES: … at character 1 is no plain name"],
    [{ SYNC_TABLES: "*.*" }, "SYNC_TABLES: * in the place of a schema"],
    [{ SYNC_TABLES: "*,perfis", SYNC_EXCLUDE: "perfis" }, "SYNC_EXCLUDE: perfis is in SYNC_TABLES by name."],
    [{ SYNC_TABLES: "*", SYNC_EXCLUDE: "loja.x" }, "SYNC_EXCLUDE: SYNC_TABLES has no wildcard for the schema loja"],
    [{ SYNC_EXCLUDE: "x" }, "SYNC_EXCLUDE: SYNC_TABLES has no wildcard for the schema public"],
    [{ SYNC_HIDE_COLUMNS: "clientes.email" }, "SYNC_HIDE_COLUMNS: clientes is not one of the tables in SYNC_TABLES."],
    [{ SYNC_STAMP: "clientes=em" }, "SYNC_STAMP: clientes is not one of the tables in SYNC_TABLES."],
    [
      { SYNC_CONFLICT_POLICY: "newest" },
      "SYNC_CONFLICT_POLICY: newest is none of last-write-wins, replit-wins, external-wins."
    ],
    [{ SYNC_CONFLICT_POLICY: "perfis=x" }, "SYNC_CONFLICT_POLICY: x is none of"],
    [{ SYNC_INTERVAL: "5m" }, "SYNC_INTERVAL: 5m is no duration; write a number and a unit, as in 5 minutes"],
    [{ SYNC_INTERVAL: "0 seconds" }, "SYNC_INTERVAL: 0 seconds is out of range; it must be more than 0"],
    [{ SYNC_INTERVAL: "-5 minutes" }, "SYNC_INTERVAL: -5 minutes is negative."],
    [{ SYNC_INTERVAL: "25 days" }, "SYNC_INTERVAL: 25 days is out of range"],
    [{ SYNC_BATCH_ROWS_MAX: "0" }, "SYNC_BATCH_ROWS_MAX: 0 is no whole number from 1 to 1000000."],
    [{ SYNC_BATCH_ROWS_MAX: "1000001" }, "SYNC_BATCH_ROWS_MAX: 1000001 is no whole"],
    [{ SYNC_BATCH_ROWS_MAX: "1e3" }, "SYNC_BATCH_ROWS_MAX: 1e3 is no whole"],
    [{ SYNC_KEEP_CONFLICTS: "0" }, "SYNC_KEEP_CONFLICTS: 0 is no duration"],
    [{ SYNC_KEEP_CONFLICTS: "1 hour" }, "SYNC_KEEP_CONFLICTS: 1 hour is out of range"],
    [{ SYNC_ABANDONED_AFTER: "5 minutes" }, "SYNC_ABANDONED_AFTER: 5 minutes is out of range"],
    [{ SYNC_QUEUE_MAX: "1 kB" }, "SYNC_QUEUE_MAX: 1 kB is neither never nor a size of 1 MB or more"],
    [{ SYNC_RETENTION: "-1 day" }, "SYNC_RETENTION: -1 day is negative."],
    [{ SYNC_RETENTION: "7" }, "SYNC_RETENTION: 7 is no duration"],
    [{ SYNC_RETENTION: "9999999 weeks" }, "SYNC_RETENTION: 9999999 weeks is out of range"],
    [{ EXTERNAL_CAPTURE: "xmin" }, "EXTERNAL_CAPTURE: xmin is none of triggers, timestamp."],
    [{ EXTERNAL_WINDOW: "0 seconds" }, "EXTERNAL_WINDOW: 0 seconds is out of range; it must be more than 0"],
    [{ EXTERNAL_WINDOW: "8 days" }, "EXTERNAL_WINDOW: 8 days is out of range"],
    [{ EXTERNAL_SWEEP_EVERY: "31 days" }, "EXTERNAL_SWEEP_EVERY: 31 days is out of range"],
    [{ SYNC_LOG_FORMAT: "xml" }, "SYNC_LOG_FORMAT: xml is none of auto, pretty, logfmt, json."],
    [{ SYNC_AUTO_SETUP: "maybe" }, "SYNC_AUTO_SETUP: maybe is none of true, false"],
    [{ SYNC_BRAKE: "50" }, "SYNC_BRAKE: 50 is neither off nor a number of rows and a share, as in 50 rows, 20 %."],
    [{ SYNC_ALLOW_PLAINTEXT: "ja" }, "SYNC_ALLOW_PLAINTEXT: ja is none of true, false"],
    [{ SYNC_TOUCH: "2" }, "SYNC_TOUCH: 2 is none of true, false"]
  ]
  for (const [variables, words] of wrong) {
    it.effect(`is told in one line: ${JSON.stringify(variables)}`, () =>
      Effect.gen(function*() {
        const message = yield* problem({ ...urls, ...variables })
        assert.include(message, words)
        assert.notInclude(message, "\n")
      }))
  }

  it.effect("is told together with all the others, a line each", () =>
    Effect.gen(function*() {
      const message = yield* problem({ SYNC_TABLES: "a b", SYNC_STAMP: "clientes=em", SYNC_INTERVAL: "5m" })
      assert.deepStrictEqual(message.split("\n").map((line) => line.split(/[ :]/).slice(0, 2).join(" ")), [
        "4 settings",
        "- DATABASE_URL",
        "- EXTERNAL_DB_URL",
        "- SYNC_TABLES",
        "- SYNC_INTERVAL"
      ])
    }))
})

describe(".env.sync", () => {
  it.effect("fills in what the environment leaves out or empty, and no more", () =>
    Effect.gen(function*() {
      const text = `EXTERNAL_DB_URL=${urls.EXTERNAL_DB_URL}\nSYNC_INTERVAL=1 hour\nSYNC_TABLES=loja.pedidos`
      const config = yield* read(
        { DATABASE_URL: urls.DATABASE_URL, EXTERNAL_DB_URL: "", SYNC_TABLES: "perfis" },
        envFile(text)
      )
      assert.strictEqual(config.externalUrl.database, "neondb")
      assert.strictEqual(Duration.toHours(config.interval), 1)
      assert.deepStrictEqual(config.tables, [perfis])
    }))

  const passwords: ReadonlyArray<readonly [line: string, password: string]> = [
    ["EXTERNAL_DB_URL=postgres://u:sec@localhost/d", "sec"],
    ["EXTERNAL_DB_URL = postgres://u:sec@localhost/d  # Neon", "sec"],
    ["export EXTERNAL_DB_URL=postgres://u:sec@localhost/d", "sec"],
    ["EXTERNAL_DB_URL=\"postgres://u:sec@localhost/d\" # Neon", "sec"],
    ["EXTERNAL_DB_URL='postgres://u:s#c@localhost/d'", "s#c"],
    ["EXTERNAL_DB_URL=postgres://u:s#c@localhost/d # Neon", "s#c"],
    ["EXTERNAL_DB_URL=postgres://u:s#'c@localhost/d", "s#'c"],
    ["EXTERNAL_DB_URL=postgres://u:s$c$d${e}@localhost/d", "s$c$d${e}"],
    ["EXTERNAL_DB_URL=\"postgres://u:s$c@localhost/d\"", "s$c"],
    ["# EXTERNAL_DB_URL=postgres://u:old@localhost/d\nEXTERNAL_DB_URL=postgres://u:sec@localhost/d", "sec"],
    ["\uFEFFEXTERNAL_DB_URL=postgres://u:sec@localhost/d", "sec"]
  ]
  for (const [line, password] of passwords) {
    it.effect(`takes the value as it is meant: ${JSON.stringify(line)}`, () =>
      Effect.gen(function*() {
        for (const text of [line, `A=1\r\n${line.replaceAll("\n", "\r\n")}\r\nB=2\r\n`]) {
          if (text.indexOf("\uFEFF") > 0) continue
          const config = yield* read({ DATABASE_URL: urls.DATABASE_URL }, envFile(text))
          const { database, password: found } = config.externalUrl
          assert.deepStrictEqual([Redacted.value(found), database], [password, "d"])
        }
      }))
  }

  it.scoped("may be missing, but not unreadable", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const folder = yield* fs.makeTempDirectoryScoped()
      const config = yield* read(urls, NodeFileSystem.layer, `${folder}/.env.sync`)
      assert.deepStrictEqual(config.tables, [perfis])

      yield* fs.makeDirectory(`${folder}/.env.sync`)
      const message = yield* problem(urls, NodeFileSystem.layer, `${folder}/.env.sync`)
      assert.match(message, /The settings file .*\/\.env\.sync can't be read: it is a directory, not a file/)
    }).pipe(Effect.provide(NodeFileSystem.layer)))

  it.effect("that this user may not read is told as such, and alone", () =>
    Effect.gen(function*() {
      const denied = new PlatformError.SystemError({
        reason: "PermissionDenied",
        module: "FileSystem",
        method: "readFileString"
      })
      const message = yield* problem({}, FileSystem.layerNoop({ readFileString: () => Effect.fail(denied) }))
      assert.strictEqual(
        message,
        "The settings file .env.sync can't be read: this user may not read it. Mend it or take it away."
      )
    }))
})

describe("a URL without TLS", () => {
  const to = (host: string) => `postgres://u:sec@${host}/d?sslmode=disable`

  it.effect("is accepted to this machine and to Replit's own network", () =>
    Effect.gen(function*() {
      for (const host of ["127.0.0.1", "127.9.9.9:5433", "localhost", "db.localhost", "[::1]", "helium"]) {
        const { externalUrl } = yield* read({ ...urls, EXTERNAL_DB_URL: to(host) })
        assert.isFalse(externalUrl.ssl)
      }
    }))

  for (
    const host of [
      "db.example.com",
      "10.0.0.7",
      "db",
      "127.0.0.1.example.com",
      "localhost.example.com",
      "helium.example.com"
    ]
  ) {
    it.effect(`is refused to ${host}, unless SYNC_ALLOW_PLAINTEXT is true`, () =>
      Effect.gen(function*() {
        const message = yield* problem({ ...urls, EXTERNAL_DB_URL: to(host) })
        assert.include(message, `EXTERNAL_DB_URL leads to ${host} without TLS`)
        assert.include(message, "sslmode=verify-full")
        assert.notInclude(message, "sec@")
        const { externalUrl } = yield* read({ ...urls, EXTERNAL_DB_URL: to(host), SYNC_ALLOW_PLAINTEXT: "true" })
        assert.isFalse(externalUrl.ssl)
      }))
  }
})

describe("sslrootcert", () => {
  it.effect("is read into the target", () =>
    Effect.gen(function*() {
      const EXTERNAL_DB_URL = "postgres://u:sec@h.x/d?sslmode=verify-full&sslrootcert=ca.pem"
      const { externalUrl } = yield* read({ ...urls, EXTERNAL_DB_URL }, files({ "ca.pem": "PEM" }))
      assert.deepStrictEqual(externalUrl.ssl, { verify: "full", caFile: "ca.pem", ca: "PEM" })
    }))
})

describe("the HTTP settings", () => {
  const on = (more: Readonly<Record<string, string>> = {}) => ({ ...urls, SYNC_HTTP_PORT: "9187", ...more })
  const token = "0123456789abcdef"

  it.effect("serve nothing unless there is a port, and then for this machine only", () =>
    Effect.gen(function*() {
      assert.isNull((yield* read({ ...urls, SYNC_HTTP_HOST: "0.0.0.0" })).http)
      assert.deepStrictEqual((yield* read(on())).http, { port: 9187, host: "127.0.0.1", token: null })
      assert.strictEqual((yield* read(on({ SYNC_HTTP_HOST: "::1" }))).http?.host, "::1")
    }))

  it.effect("want a token for an address that others can reach", () =>
    Effect.gen(function*() {
      for (const host of ["0.0.0.0", "::", "10.0.0.7", "db-sync", "localhost.example.com"]) {
        assert.match(
          yield* problem(on({ SYNC_HTTP_HOST: host })),
          /can be reached from other machines.*SYNC_HTTP_TOKEN/
        )
      }
      const { http } = yield* read(on({ SYNC_HTTP_HOST: "0.0.0.0", SYNC_HTTP_TOKEN: token }))
      assert.strictEqual(http?.host, "0.0.0.0")
      assert.strictEqual(Redacted.value(http!.token!), token)
      assert.notInclude(String(http!.token), token)
    }))

  it.effect("are refused with what to write instead, and without the token", () =>
    Effect.gen(function*() {
      for (const port of ["0", "65536", "http", "80.5", "-1"]) {
        assert.match(yield* problem(on({ SYNC_HTTP_PORT: port })), /^SYNC_HTTP_PORT: .* is no port/)
      }
      assert.match(yield* problem(on({ SYNC_HTTP_HOST: "http://x/" })), /^SYNC_HTTP_HOST: .* is no host/)
      for (const wrong of ["curto", "com espaço no meio dele", "acentuação-não-serve"]) {
        const message = yield* problem(on({ SYNC_HTTP_TOKEN: wrong }))
        assert.match(message, /^SYNC_HTTP_TOKEN: it must have 16 characters or more/)
        assert.notInclude(message, wrong)
      }
    }))
})
