/**
 * What is said when a connection can't be had or kept: by the network, by TLS, by node-postgres (texts without a
 * code), by PgBouncer and by Neon's proxy (texts whose codes say little). Tables of texts and cures, nothing else;
 * `PgErrors` decides when they are asked and makes errors of what they answer.
 *
 * Neon's texts: https://github.com/neondatabase/neon/tree/main/proxy/src and
 * https://neon.com/docs/connect/connection-errors
 */
import { directHost } from "../domain/ConnectionTarget.ts"

/** A refusal as it came, and the names that a sentence about it needs. */
export interface Said {
  /** Primary message, on one line. */
  readonly text: string
  /** SQLSTATE or Node's error code, null when there is none. */
  readonly code: string | null
  /** The database as the subject of a sentence, e.g. `The external database (ep-x.eu-central-1.aws.neon.tech)`. */
  readonly who: string
  /** The setting to look at: `DATABASE_URL` or `EXTERNAL_DB_URL`. */
  readonly setting: string
  readonly host: string
  readonly port: number | null
}

/** `later` and `slow`: try again, soon or rarely. `world`: refused for good. `action`: a setting must change. */
export interface Answer {
  readonly verdict: "later" | "slow" | "world" | "action"
  readonly message: string
}

/** What proxies and servers say while letting nobody in. Null: nothing known. */
export const ofServer = (said: Said): Answer | null => firstOf(serverRules, said)

/** What node-postgres, Node's sockets and TLS say, where no server did. Null: nothing known. */
export const ofClient = (said: Said): Answer | null => firstOf(clientRules, said)

/** Applies when the code matches or the text does; servers speak other languages, proxies send other codes. */
interface Rule {
  readonly code?: RegExp
  readonly text?: RegExp
  readonly verdict: Answer["verdict"]
  readonly message: (said: Said) => string
}

const firstOf = (rules: ReadonlyArray<Rule>, said: Said): Answer | null => {
  const rule = rules.find(({ code, text }) => code?.test(said.code ?? "") === true || text?.test(said.text) === true)
  return rule === undefined ? null : { verdict: rule.verdict, message: rule.message(said) }
}

const plainly = ({ text, who }: Said): string => `${who} can't be used now: ${text}`

const quota = ({ text, who }: Said): string =>
  `${who} is stopped by a limit of its plan: ${text} It works again when the limit is reset or the plan upgraded.`

const wrongPassword = ({ setting, who }: Said): string =>
  `${who} refused the user name or the password. Check ${setting}: copy the direct connection string (its host ` +
  "without -pooler) from the database's console again, for a reset there changes the password; percent-encode its special " +
  "characters; and see that the database is active."

const needsTls = ({ setting, who }: Said): string =>
  `${who} takes connections with TLS only. Put sslmode=require (or verify-full) into ${setting}.`

const serverRules: ReadonlyArray<Rule> = [
  { code: /^28P01$/, text: /password authentication failed/i, verdict: "world", message: wrongPassword },
  {
    text: /role you're attempting to use is protected/i,
    verdict: "world",
    message: ({ setting, who }) =>
      `${who} keeps that role to itself. Use the role that its console shows in ${setting}.`
  },
  {
    text: /requested (endpoint|project|branch|project\/branch) could not be found|endpoint cannot be found/i,
    verdict: "world",
    message: ({ setting, who }) =>
      `${who} does not exist (any more), or is paused. Check the host in ${setting} against the database's console.`
  },
  {
    code: /^3D000$/,
    text: /^database ".*" does not exist/i,
    verdict: "world",
    message: ({ setting, text, who }) =>
      `${who} could not be opened: ${text}. Check the name after the last / in ${setting}.`
  },
  {
    text: /^role ".*" does not exist/i,
    verdict: "world",
    message: ({ setting, text, who }) => `${who} refused the user: ${text}. Check the user name in ${setting}.`
  },
  {
    text: /endpoint (has been|is) disabled|endpoint is temporarily disabled/i,
    verdict: "slow",
    message: ({ who }) =>
      `${who} is asleep or disabled. Enable its endpoint in the database's console; a database that Replit manages ` +
      "may need the app to be published again."
  },
  { text: /exceeded the .*quota|exceeded the compute time|Check your quotas/i, verdict: "slow", message: quota },
  {
    text: /exceeded the limit of concurrently active endpoints|exceeded the rate limit/i,
    verdict: "slow",
    message: quota
  },
  { text: /project size limit|could not extend file/i, verdict: "slow", message: quota },
  {
    text: /^This IP address .*not allowed to connect/i,
    verdict: "world",
    message: ({ text, who }) =>
      `${who} does not let this machine in: ${text} Add the address to its IP allow list (Replit's change from time ` +
      "to time)."
  },
  {
    text: /^Project name .*must contain only/i,
    verdict: "world",
    message: ({ setting, text, who }) =>
      `${who} does not know itself by that host: ${text} Check the host in ${setting}.`
  },
  {
    text: /endpoint ID is not specified|Inconsistent project name inferred/i,
    verdict: "world",
    message: ({ setting, who }) =>
      `${who} can't tell which endpoint is meant. Use the host name from its console in ${setting}, or add ` +
      "options=endpoint%3D<endpoint-id> with the host's own first label."
  },
  {
    text: /connection is insecure|no pg_hba\.conf entry.*(no encryption|SSL off)/i,
    verdict: "world",
    message: needsTls
  },
  {
    text: /no pg_hba\.conf entry|pg_hba\.conf rejects/i,
    verdict: "world",
    message: ({ text, who }) => `${who} does not let this user in from here: ${text}.`
  },
  {
    text: /unsupported startup parameter/i,
    verdict: "action",
    message: ({ host, setting, who }) =>
      `${who} is reached through a connection pooler. Use its direct host in ${setting}` +
      (directHost(host) === host ? "." : `: ${directHost(host)}`)
  },
  {
    text: /unsupported channel binding|authentication protocol violation|Malformed password message/i,
    verdict: "world",
    message: ({ setting, text, who }) =>
      `${who} did not accept how we log in: ${text}. Take channel_binding out of ${setting}.`
  },
  // PgBouncer's and the proxy's own troubles, and full servers: they pass.
  {
    text: new RegExp(
      "Couldn't connect to compute node|Control plane request failed|Failed to acquire permit|" +
        "Too many (database )?connections?|too many clients|connection slots are reserved|Authentication timed out|" +
        "already has running operations|server login has been failing|server conn crashed|query_wait_timeout|" +
        "no more connections allowed|max_client_conn|pause failed|client_idle_timeout",
      "i"
    ),
    verdict: "later",
    message: plainly
  }
]

const certificate = ({ code, setting, text, who }: Said): string =>
  `${who} showed a certificate that can't be trusted (${code}: ${text}). Name its authority with sslrootcert=<file> ` +
  `in ${setting}, or use sslmode=require to go without verification.`

const unreachable = ({ code, host, port, setting, who }: Said): string =>
  `${who} can't be reached${port === null ? "" : ` at port ${port}`} (${code}): it is not running, or ` +
  `${host.startsWith("/") ? "the directory" : "host or port"} in ${setting} is wrong.`

const silent = ({ host, setting, text, who }: Said): string =>
  `${who} hangs, or something between here and it swallows what is sent: ${text}, though the connection has not ended. ` +
  `A new one is tried. If this goes on, look at the server, and at firewalls, VPNs and the host in ${setting} (${host}).`

const lost = ({ text, who }: Said): string => `The connection was lost. ${who} went away or the network did (${text}).`

const clientRules: ReadonlyArray<Rule> = [
  { code: /^ENOANSWER$/, verdict: "later", message: silent },
  {
    code: /^ENOTFOUND$/,
    verdict: "world",
    message: ({ setting, text, who }) =>
      /\bhelium$/.test(text)
        ? `${who} was not found: the host helium exists in the Replit workspace only. A deployment has a database of ` +
          `its own; look at ${setting} there.`
        : `${who} was not found: no such host name is known. Check the host in ${setting}.`
  },
  { code: /^(EACCES|EPERM)$/, verdict: "world", message: unreachable },
  {
    code: /^(ECONNREFUSED|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|EHOSTDOWN|ENETDOWN|EADDRNOTAVAIL|ENOENT)$/,
    verdict: "later",
    message: unreachable
  },
  { code: /^(EAI_|EMFILE$|ENFILE$|ENOBUFS$)/, verdict: "later", message: plainly },
  {
    code: /^(ECONNRESET|EPIPE|ECONNABORTED|ERR_STREAM_\w+|ABORT_ERR)$/,
    verdict: "later",
    message: lost
  },
  {
    code: /^ERR_TLS_CERT_ALTNAME_INVALID$|^HOSTNAME_MISMATCH$/,
    verdict: "world",
    message: ({ code, setting, who }) =>
      `${who} showed a certificate for another host (${code}). Use the host name that the certificate names in ` +
      `${setting}, or sslmode=verify-ca.`
  },
  {
    code: /^(CERT_|CRL_|ERROR_IN_CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|INVALID_|PATH_LENGTH_)/,
    verdict: "world",
    message: certificate
  },
  {
    code: /^(ERR_SSL_|ERR_TLS_|ERR_OSSL_|EPROTO$)/,
    verdict: "world",
    message: ({ code, setting, who }) => `${who} and we can't agree on TLS (${code}). Check sslmode in ${setting}.`
  },
  {
    text: /server does not support SSL connections/i,
    verdict: "world",
    message: ({ setting, who }) =>
      `${who} offers no TLS. Put sslmode=disable into ${setting} if that is right, as for Replit's own (host helium).`
  },
  {
    text: /client password must be a/i,
    verdict: "action",
    message: ({ setting, who }) => `${who} asks for a password and ${setting} has none.`
  },
  { text: /server returned error: "?(invalid-proof|unknown-user)/i, verdict: "world", message: wrongPassword },
  {
    text: /^SASL: /i,
    verdict: "world",
    message: ({ text, who }) => `${who} and we can't agree on how to log in (${text}).`
  },
  {
    text: /error establishing an SSL connection|secure TLS connection was established/i,
    verdict: "later",
    message: lost
  },
  {
    text: /timeout expired|connection timeout|timeout exceeded when trying to connect|query read timeout/i,
    verdict: "later",
    message: ({ setting, text, who }) =>
      `${who} did not answer in time (${text}). A sleeping one may need a moment; else check the host in ${setting}.`
  },
  {
    text:
      /connection terminated|not queryable|premature close|calling end on the pool|socket hang up|connection ended/i,
    verdict: "later",
    message: lost
  }
]
