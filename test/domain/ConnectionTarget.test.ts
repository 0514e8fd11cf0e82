import { assert, describe, it } from "@effect/vitest"
import { Either, FastCheck as fc, Redacted } from "effect"
import { Client } from "pg"
import { type ConnectionTarget, parseUrl, requireDirect, toPgOptions } from "../../src/domain/ConnectionTarget.ts"

const target = (url: string): ConnectionTarget => Either.getOrThrow(parseUrl("external", url))

const problem = (url: string): string =>
  Either.match(parseUrl("external", url), { onLeft: (error) => error.message, onRight: () => "accepted" })

/** What a target says, without what is always the same. */
const summary = ({ database, host, password, port, user }: ConnectionTarget) =>
  [user, Redacted.value(password), host, port, database].join("|")

const addresses: ReadonlyArray<readonly [string, string]> = [
  ["postgres://u:p@h:6000/d", "u|p|h|6000|d"],
  ["postgresql://u:p@h/d", "u|p|h|5432|d"],
  ["POSTGRESQL://u:p@EP-X.Neon.Tech/d", "u|p|ep-x.neon.tech|5432|d"],
  ["  postgres://u@h/d\n", "u||h|5432|d"],
  ["postgres://jo%C3%A3o:p%40%2F%23%3A%25@h/d%20b", "joão|p@/#:%|h|5432|d b"],
  ["postgres://u:a:b@h/d", "u|a:b|h|5432|d"],
  ["postgres://u:a@b@h/d", "u|a@b|h|5432|d"],
  ["postgres://u:a#b@h/d", "u|a#b|h|5432|d"],
  ["postgres://u:a?b@h/d", "u|a?b|h|5432|d"],
  ["postgres://u:a+b@h/d?options=-c%20x%3D1+2", "u|a+b|h|5432|d"],
  ["postgres://u:p@[::1]:6000/d", "u|p|::1|6000|d"],
  ["postgres://u:p@/d?host=/var/run/postgresql", "u|p|/var/run/postgresql|5432|d"],
  ["postgres://u:p@%2Ftmp:6000/d", "u|p|/tmp|6000|d"],
  ["postgres:///d?host=/Tmp&port=6000&user=u&password=p", "u|p|/Tmp|6000|d"],
  ["postgresql://postgres:password@helium/heliumdb?sslmode=disable", "postgres|password|helium|5432|heliumdb"]
]

const wrong: ReadonlyArray<readonly [string, string]> = [
  ["mysql://u:p@h/d", "is not a PostgreSQL URL"],
  ["u:p@h/d", "is not a PostgreSQL URL"],
  ["psql 'postgresql://u:p@h/d'", "leave psql and the quotes out"],
  ["\"postgresql://u:p@h/d\"", "leave psql and the quotes out"],
  ["postgres://", "has no host, no user, no database name"],
  ["postgres://h/d", "has no user"],
  ["postgres://u:p@h", "has no database name"],
  ["postgres://u:p@h/", "has no database name"],
  ["postgres://u:p@/d", "has no host"],
  ["postgres://u:sec/ret@h/d", "# as %23, / as %2F"],
  ["postgres://u:12/ret@h/d", "# as %23, / as %2F"],
  ["postgres://u:sec%ret@h/d", "% that begins no character"],
  ["postgres://u:sec@h:port/d", "no valid port"],
  ["postgres://u:sec@h:0/d", "no valid port"],
  ["postgres://u:sec@h:65536/d", "no valid port"],
  ["postgres://u:sec@h1,h2/d", "several hosts"],
  ["postgres://u:sec@h/d?sslmode=requier", "sslmode that does not exist"],
  ["postgres://u:sec@h/d?sslcert=a.pem", "client certificate"]
]

describe("a connection URL", () => {
  for (const [url, expected] of addresses) {
    it(`reads ${JSON.stringify(url)}`, () => assert.strictEqual(summary(target(url)), expected))
  }

  for (const [url, expected] of wrong) {
    it(`says what is wrong with ${JSON.stringify(url)} and shows none of it`, () => {
      assert.include(problem(url), expected)
      assert.match(problem(url), /^EXTERNAL_DB_URL /)
      assert.notMatch(problem(url), /sec|ret@/)
    })
  }

  it.prop(
    "keeps user, password and database whatever is in them",
    [fc.tuple(fc.string({ minLength: 1 }), fc.string(), fc.string({ minLength: 1 }))],
    ([[user, password, database]]) => {
      const url = `postgres://${encodeURIComponent(user)}:${encodeURIComponent(password)}@h/${
        encodeURIComponent(database)
      }`
      assert.strictEqual(summary(target(url)), [user, password, "h", 5432, database].join("|"))
    }
  )

  it("tells Replit's own database, Neon direct, Neon pooled and others apart", () => {
    const kinds = [
      "helium",
      "ep-a-1.c-2.eu-central-1.aws.neon.tech",
      "ep-a-1-pooler.eu.aws.neon.tech",
      "db.example.com"
    ]
    assert.deepStrictEqual(
      kinds.map((host) => target(`postgres://u:p@${host}/d`).kind),
      ["replit-helium", "neon-direct", "neon-pooled", "other"]
    )
  })

  it("names what it ignores", () => {
    const url = "postgres://u:p@h/d?schema=public&sslmode=disable&connect_timeout=15"
    assert.deepStrictEqual(target(url).ignored, ["schema", "connect_timeout"])
  })

  it("hides the password from whoever prints it", () => {
    const shown = `${JSON.stringify(target("postgres://u:hunter2@h/d"))}`
    assert.notInclude(shown, "hunter2")
  })
})

describe("a pooled URL", () => {
  it("is refused with the direct host and nothing else of it", () => {
    const pooled = target("postgres://u:sec@ep-a-pooler-1-pooler.us-east-2.aws.neon.tech/d")
    const message = Either.match(requireDirect(pooled), { onLeft: (error) => error.message, onRight: () => "accepted" })
    assert.match(message, /^EXTERNAL_DB_URL .*instead: ep-a-pooler-1\.us-east-2\.aws\.neon\.tech$/)
    assert.notMatch(message, /sec|u:|\/d/)
  })

  it("is one whose first label ends with -pooler, no other", () => {
    const direct = target("postgres://u:p@ep-pooler-x.db-pooler.example.com/d")
    assert.deepStrictEqual(requireDirect(direct), Either.right(direct))
  })
})

describe("TLS", () => {
  const modes: ReadonlyArray<readonly [string, false | string]> = [
    // Without sslmode the host decides.
    ["localhost/d", false],
    ["127.0.0.1/d", false],
    ["[::1]/d", false],
    ["helium/d", false],
    ["db/d", false],
    ["10.0.0.1/d", "none"],
    ["[2001:db8::1]/d", "none"],
    ["db.example.com/d", "none"],
    ["ep-x.eu.aws.neon.tech/d", "full"],
    ["x.neon.tech.example.com/d", "none"],
    ["/d?host=/tmp&sslmode=require", false],
    // With it, it means what it means to libpq.
    ["ep-x.eu.aws.neon.tech/d?sslmode=disable", false],
    ["ep-x.eu.aws.neon.tech/d?sslmode=require&channel_binding=require", "none"],
    ["ep-x.eu.aws.neon.tech/d?sslmode=prefer", "none"],
    ["localhost/d?sslmode=prefer", false],
    ["localhost/d?sslmode=allow", false],
    ["localhost/d?sslmode=require", "none"],
    ["h.x/d?sslmode=no-verify", "none"],
    ["h.x/d?sslmode=verify-ca", "ca"],
    ["h.x/d?sslmode=verify-full", "full"],
    ["h.x/d?sslmode=require&sslrootcert=ca.pem", "ca ca.pem"],
    ["h.x/d?sslmode=verify-full&sslrootcert=ca.pem", "full ca.pem"],
    ["h.x/d?sslrootcert=ca.pem", "ca ca.pem"],
    ["h.x/d?sslrootcert=system", "full"],
    ["h.x/d?ssl=true", "none"],
    ["h.x/d?ssl=false", false],
    ["h.x/d?ssl=no-verify", "none"]
  ]
  for (const [rest, expected] of modes) {
    it(`for ${rest} is ${expected}`, () => {
      const { ssl } = target(`postgres://u:p@${rest}`)
      assert.strictEqual(ssl === false ? false : [ssl.verify, ssl.caFile ?? ""].join(" ").trim(), expected)
    })
  }
})

describe("node-postgres' settings", () => {
  const options = (rest: string) => toPgOptions(target(`postgres://u:p@${rest}`))

  it("say everything, so that no PG* variable fills a gap", () => {
    const client = new Client(options("h.x:6000/d?options=endpoint%3Dep-x&channel_binding=require"))
    assert.deepStrictEqual([client.host, client.port, client.user, client.database], ["h.x", 6000, "u", "d"])
    assert.strictEqual(options("h/d").password(), "p")
    assert.strictEqual(toPgOptions(target("postgres://u@h/d")).password(), "")
    assert.strictEqual(options("h/d").ssl, false)
    assert.strictEqual(options("h/d?options=endpoint%3Dep-x").options, "endpoint=ep-x")
    assert.isTrue(options("h/d?channel_binding=require").enableChannelBinding)
    assert.isFalse(options("h/d").enableChannelBinding)
  })

  it("verify as much as was asked", () => {
    const ssl = (mode: string) => options(`h.x/d?sslmode=${mode}`).ssl || assert.fail("no TLS")
    assert.deepStrictEqual(ssl("verify-full"), { rejectUnauthorized: true })
    assert.isTrue(ssl("verify-ca").rejectUnauthorized)
    assert.isUndefined(ssl("verify-ca").checkServerIdentity?.())
    assert.property(ssl("verify-ca"), "checkServerIdentity")
    assert.isFalse(ssl("require").rejectUnauthorized)
  })
})
