/**
 * Where a database is and how to talk to it: `DATABASE_URL` or `EXTERNAL_DB_URL` taken apart, once, completely.
 *
 * node-postgres is never given the URL: it would fill what is missing from PG* variables (on Replit those may belong
 * to another database), read `sslmode` differently from libpq and warn about it, and ignore `channel_binding`.
 */
import { Either, Redacted } from "effect"
import { type Side, urlSetting } from "./Side.ts"
import { ActionNeeded } from "./SyncError.ts"

export interface ConnectionTarget {
  readonly side: Side
  /** A name in lower case, an address without brackets, or the directory of a Unix socket, which begins with `/`. */
  readonly host: string
  readonly port: number
  readonly database: string
  readonly user: string
  /** Empty when the URL has none. */
  readonly password: Redacted.Redacted
  readonly ssl: false | Tls
  /** Prefer SCRAM bound to the TLS channel (`channel_binding`); a server that doesn't offer it is accepted. */
  readonly channelBinding: boolean
  /** Start-up options that the URL asks for, as `endpoint=ep-cool-darkness-123456`. */
  readonly options?: string
  readonly kind: Kind
  /** Names of URL parameters that have no meaning here, for `check` to tell. */
  readonly ignored: ReadonlyArray<string>
}

export type Kind = "replit-helium" | "neon-direct" | "neon-pooled" | "other"

/**
 * How the server's certificate is checked: `none` not at all, `ca` that an authority signed it, `full` that it also
 * names the host.
 */
export interface Tls {
  readonly verify: "none" | "ca" | "full"
  /** File with the authorities to trust (`sslrootcert`); null: those that Node trusts. */
  readonly caFile: string | null
  /** Its content, once it was read. */
  readonly ca: string | null
}

/**
 * Takes a URL apart as libpq does: percent-decoded, parameters after `?` included. Host, user and database must be
 * there; the port defaults to 5432. The message of a refusal holds no part of the URL but host, port and parameter.
 *
 * `sslmode` means what it means to libpq: `disable` no TLS; `require` and `no-verify` TLS without a look at the
 * certificate (`require` with `sslrootcert`: like `verify-ca`); `verify-ca`; `verify-full`. Without it there is no TLS
 * to this machine, to `helium`, to names of one label and to Unix sockets, `verify-full` to `*.neon.tech`, and
 * `require` to all others. `allow` and `prefer` can't fall back here: they mean the same without any verification.
 */
export const parseUrl = (side: Side, url: string): Either.Either<ConnectionTarget, ActionNeeded> =>
  Either.mapLeft(
    takeApart(side, url),
    (problem) => new ActionNeeded({ side, message: `${urlSetting(side)} ${problem}` })
  )

/** Refuses a pooled URL, with the direct host to use instead. */
export const requireDirect = (target: ConnectionTarget): Either.Either<ConnectionTarget, ActionNeeded> =>
  pooledLabel.test(target.host)
    ? Either.left(
      new ActionNeeded({
        side: target.side,
        message: `${urlSetting(target.side)} leads to a connection pooler (${target.host}), which keeps no session ` +
          `and so no lock. Use the direct host instead: ${directHost(target.host)}`
      })
    )
    : Either.right(target)

/**
 * Refuses a URL without TLS to anywhere but this machine and `helium`, Replit's own network: whoever is on the way reads the
 * password's exchange and every row, and can change them.
 */
export const requireTls = (target: ConnectionTarget): Either.Either<ConnectionTarget, ActionNeeded> =>
  target.ssl !== false || isOnThisMachine(target.host) || target.kind === "replit-helium"
    ? Either.right(target)
    : Either.left(
      new ActionNeeded({
        side: target.side,
        message:
          `${urlSetting(target.side)} leads to ${target.host} without TLS, so that anybody on the way can read and ` +
          "change what passes. Add sslmode=verify-full to it (or sslmode=require, which encrypts and doesn't look at the " +
          "certificate); SYNC_ALLOW_PLAINTEXT=true allows it as it is"
      })
    )

/** The host behind a pooled one: the same name without `-pooler`. */
export const directHost = (host: string): string => host.replace(pooledLabel, "$1")

/** The target as node-postgres' connection settings, every one of them explicit. */
export const toPgOptions = (target: ConnectionTarget): PgOptions => ({
  host: target.host,
  port: target.port,
  database: target.database,
  user: target.user,
  // A function, because an empty string would make node-postgres look into PGPASSWORD and ~/.pgpass.
  password: () => Redacted.value(target.password),
  ssl: target.ssl === false ? false : toNodeTls(target.ssl),
  enableChannelBinding: target.channelBinding,
  ...(target.options === undefined ? {} : { options: target.options })
})

/** The part of node-postgres' `ClientConfig` that says where and how to connect. */
export interface PgOptions {
  readonly host: string
  readonly port: number
  readonly database: string
  readonly user: string
  readonly password: () => string
  readonly ssl: false | NodeTls
  readonly enableChannelBinding: boolean
  readonly options?: string
}

interface NodeTls {
  readonly rejectUnauthorized: boolean
  readonly checkServerIdentity?: () => undefined
  readonly ca?: string
}

const pooledLabel = /^([^.]+)-pooler(?=\.|$)/

const toNodeTls = (tls: Tls): NodeTls => ({
  rejectUnauthorized: tls.verify !== "none",
  ...(tls.verify === "full" ? {} : { checkServerIdentity: () => undefined }),
  ...(tls.ca === null ? {} : { ca: tls.ca })
})

const example = "postgresql://user:password@host:5432/database"

const encodeHint =
  "special characters in the password must be percent-encoded (# as %23, / as %2F, ? as %3F, @ as %40, % as %25)"

const takeApart = (side: Side, url: string): Either.Either<ConnectionTarget, string> =>
  Either.gen(function*() {
    const parts = yield* split(url.trim())
    const { database, host, password, port, user } = yield* addressOf(parts)
    const missing = [host === "" && "host", user === "" && "user", database === "" && "database name"]
      .filter((name) => name !== false)
    if (missing.length > 0) {
      return yield* Either.left(`has no ${missing.join(", no ")}. It must look like ${example}, and ${encodeHint}`)
    }
    const { parameters } = parts
    for (const name of ["sslcert", "sslkey"]) {
      if (parameters.has(name)) {
        return yield* Either.left(`asks for a client certificate (${name}), which is not supported`)
      }
    }
    const options = parameters.get("options")
    return {
      side,
      host,
      port,
      database,
      user,
      password: Redacted.make(password),
      ssl: yield* tlsOf(host, parameters),
      channelBinding: ["require", "prefer"].includes(parameters.get("channel_binding") ?? ""),
      ...(options === undefined || options === "" ? {} : { options }),
      kind: kindOf(host),
      ignored: [...parameters.keys()].filter((name) => !understood.has(name))
    }
  })

interface Parts {
  readonly user: string
  readonly password: string
  /** Host and port as written. */
  readonly authority: string
  readonly database: string
  readonly parameters: ReadonlyMap<string, string>
}

/** The last `@` before `/`, `?` and `#` ends the password; if there is none, the first one before `/`, as in libpq. */
const shapes = [
  /^postgres(?:ql)?:\/\/(?:(?<login>[^/?#]*)@)(?<authority>[^/?#@]*)(?:\/(?<database>[^?]*))?(?:\?(?<query>.*))?$/is,
  /^postgres(?:ql)?:\/\/(?:(?<login>[^/@]*)@)(?<authority>[^/?#@]*)(?:\/(?<database>[^?]*))?(?:\?(?<query>.*))?$/is,
  /^postgres(?:ql)?:\/\/(?<login>)(?<authority>[^/?#@]*)(?:\/(?<database>[^?]*))?(?:\?(?<query>.*))?$/is
]

const split = (url: string): Either.Either<Parts, string> =>
  Either.gen(function*() {
    if (/^psql\b|^["']/.test(url)) {
      return yield* Either.left(`holds more than a URL: leave psql and the quotes out. It must look like ${example}`)
    }
    if (!/^postgres(ql)?:\/\//i.test(url)) {
      return yield* Either.left(`is not a PostgreSQL URL. It must look like ${example}`)
    }
    const found = shapes.map((shape) => shape.exec(url)?.groups).find((groups) => groups !== undefined)
    if (found === undefined) {
      return yield* Either.left(`can't be read as a URL. It must look like ${example}, and ${encodeHint}`)
    }
    const login = found["login"] ?? ""
    const colon = login.includes(":") ? login.indexOf(":") : login.length
    return {
      user: yield* decode(login.slice(0, colon)),
      password: yield* decode(login.slice(colon + 1)),
      authority: found["authority"] ?? "",
      database: yield* decode(found["database"] ?? ""),
      parameters: yield* parametersOf(found["query"] ?? "")
    }
  })

const parametersOf = (query: string) =>
  Either.gen(function*() {
    const parameters = new Map<string, string>()
    for (const pair of query.split("&").filter((pair) => pair !== "")) {
      const equals = pair.includes("=") ? pair.indexOf("=") : pair.length
      parameters.set(yield* decode(pair.slice(0, equals)), yield* decode(pair.slice(equals + 1)))
    }
    return parameters
  })

/** Not `decodeURIComponent` alone: it throws, and its error would quote the text. */
const decode = (text: string): Either.Either<string, string> =>
  Either.mapLeft(
    Either.try(() => decodeURIComponent(text)),
    () => `holds a % that begins no character's code: ${encodeHint}`
  )

/** What parameters say about the address goes before what the authority says, as in libpq. */
const addressOf = ({ authority, parameters, ...parts }: Parts) =>
  Either.gen(function*() {
    if (authority.includes(",")) return yield* Either.left("names several hosts; name one")
    const written = /^(?<host>\[[^\]]*\]|[^:]*)(?::(?<port>.*))?$/s.exec(authority)?.groups
    const host = parameters.get("host") ?? (yield* decode(written?.["host"] ?? "")).replace(/^\[(.*)\]$/, "$1")
    const port = parameters.get("port") ?? written?.["port"] ?? ""
    if (written === undefined || !/^(\d{1,5})?$/.test(port) || Number(port) > 65_535 || /^0+$/.test(port)) {
      return yield* Either.left(`has no valid port after its host. It must look like ${example}, and ${encodeHint}`)
    }
    return {
      host: host.startsWith("/") ? host : host.toLowerCase(),
      port: port === "" ? 5432 : Number(port),
      database: parameters.get("dbname") ?? parts.database,
      user: parameters.get("user") ?? parts.user,
      password: parameters.get("password") ?? parts.password
    }
  })

const tlsOf = (host: string, parameters: ReadonlyMap<string, string>): Either.Either<false | Tls, string> => {
  const rootCertificate = parameters.get("sslrootcert") || null
  const caFile = rootCertificate === "system" ? null : rootCertificate
  const use = (verify: Tls["verify"]) => Either.right({ verify, caFile, ca: null })
  const required = rootCertificate === "system" ? "full" : caFile === null ? "none" : "ca"
  const mode = parameters.get("sslmode") ?? modeOfSsl(parameters.get("ssl"))
  // As in libpq: what never leaves the machine is never encrypted.
  if (host.startsWith("/")) return Either.right(false)
  switch (mode) {
    case undefined:
      if (rootCertificate !== null) return use(required)
      return isNear(host) ? Either.right(false) : use(isNeon(host) ? "full" : "none")
    case "disable":
      return Either.right(false)
    case "allow":
    case "prefer":
      return isNear(host) ? Either.right(false) : use("none")
    case "require":
      return use(required)
    case "no-verify":
      return use("none")
    case "verify-ca":
      return use("ca")
    case "verify-full":
      return use("full")
    default:
      return Either.left(
        "has an sslmode that does not exist. Use disable, require, verify-ca or verify-full, or leave it out"
      )
  }
}

/** `ssl=true` and the like are not libpq's, but URLs of many hosts carry them. */
const modeOfSsl = (ssl: string | undefined): string | undefined => {
  if (ssl === undefined || ssl === "no-verify") return ssl
  return ["", "0", "false", "off"].includes(ssl) ? "disable" : "require"
}

const isOnThisMachine = (host: string): boolean => /^\/|^127\.\d+\.\d+\.\d+$|^::1$|^localhost$|\.localhost$/.test(host)

const isNear = (host: string): boolean => isOnThisMachine(host) || (!host.includes(".") && !host.includes(":"))

const isNeon = (host: string): boolean => host.endsWith(".neon.tech")

const kindOf = (host: string): Kind => {
  if (host === "helium") return "replit-helium"
  if (!isNeon(host)) return "other"
  return pooledLabel.test(host) ? "neon-pooled" : "neon-direct"
}

const understood = new Set(
  "host port dbname user password sslmode ssl sslrootcert channel_binding options uselibpqcompat".split(" ")
)
