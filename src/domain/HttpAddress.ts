/** Where the service answers HTTP, as the settings say it: pure, and with a sentence for what can't work. */
import { Either, Redacted } from "effect"

export interface HttpAddress {
  /** 0 takes one that is free; only programs can say that. */
  readonly port: number
  /** A name or an address of this machine. */
  readonly host: string
  /** What a caller must show, 16 characters or more; null where only this machine can call. */
  readonly token: Redacted.Redacted | null
}

/** What is set; all but the port may be missing. */
export interface HttpTexts {
  readonly port: string | undefined
  readonly host: string | undefined
  readonly token: string | undefined
}

/** Null when no port is set: nothing is served then. Problems name the setting, and never quote the token. */
export const parse = ({ host = defaultHost, port, token }: HttpTexts): Either.Either<HttpAddress | null, string> => {
  if (port === undefined) return Either.right(null)
  if (!/^\d{1,5}$/.test(port) || Number(port) < 1 || Number(port) > 65_535) {
    return Either.left(`SYNC_HTTP_PORT: ${port} is no port, which is a whole number from 1 to 65535.`)
  }
  if (!/^[\w.:-]+$/.test(host)) {
    return Either.left(`SYNC_HTTP_HOST: ${host} is no host, which is a name or an address, as 127.0.0.1 or 0.0.0.0.`)
  }
  if (token !== undefined && !/^[\x21-\x7e]{16,1000}$/.test(token)) {
    return Either.left(
      "SYNC_HTTP_TOKEN: it must have 16 characters or more, and no spaces or accents; `openssl rand -hex 32` prints one."
    )
  }
  if (token === undefined && !isLoopback(host)) {
    return Either.left(
      `SYNC_HTTP_HOST: ${host} can be reached from other machines, so SYNC_HTTP_TOKEN must be set, to a secret of `
        + "16 characters or more; `openssl rand -hex 32` prints one."
    )
  }
  return Either.right({ port: Number(port), host, token: token === undefined ? null : Redacted.make(token) })
}

export const defaultHost = "127.0.0.1"

/** Whether only this machine can call there. */
export const isLoopback = (host: string): boolean =>
  /^(localhost|127(\.\d{1,3}){3}|\[?::1\]?)$/.test(host.toLowerCase())

/** As a person opens it. */
export const urlOf = ({ host, port }: Pick<HttpAddress, "host" | "port">): string => {
  const named = host === "0.0.0.0" || host === "::" ? "localhost" : host
  return `http://${named.includes(":") ? `[${named}]` : named}:${port}/`
}
