/**
 * What the demo plays with: two PostgreSQL servers of its own, the table `perfis` on both, and an app that writes to
 * them. It knows nothing of the sync.
 */
import type { Scope } from "effect"
import { Effect, Either, Redacted } from "effect"
import type { ConnectionTarget } from "../domain/ConnectionTarget.ts"
import { parseUrl } from "../domain/ConnectionTarget.ts"
import type { Side } from "../domain/Side.ts"
import type { SyncError } from "../domain/SyncError.ts"
import * as EmbeddedPostgres from "./EmbeddedPostgres.ts"
import * as PgSession from "./pg/PgSession.ts"
import type { EmbeddedPostgresError } from "./PostgresBinaries.ts"

export interface DemoApp {
  readonly urls: Readonly<Record<Side, Redacted.Redacted>>
  readonly targets: Readonly<Record<Side, ConnectionTarget>>
  /** Runs one statement, as an app would. */
  readonly run: (side: Side, statement: string) => Effect.Effect<ReadonlyArray<Row>, SyncError>
}

/** Column texts. */
export type Row = Readonly<Record<string, string | null>>

/** Starts both servers, which takes a few seconds, and stops them when the scope closes; nothing is kept. */
export const make: Effect.Effect<DemoApp, EmbeddedPostgresError | SyncError, Scope.Scope> = Effect.gen(function*() {
  const servers = yield* Effect.all({ replit: server, external: server }, { concurrency: 2 })
  const urls = { replit: servers.replit.url(), external: servers.external.url() }
  const targets = {
    replit: yield* Either.mapLeft(parseUrl("replit", Redacted.value(urls.replit)), (error) => error),
    external: yield* Either.mapLeft(parseUrl("external", Redacted.value(urls.external)), (error) => error)
  }
  const sessions = { replit: yield* PgSession.make(targets.replit), external: yield* PgSession.make(targets.external) }
  const app: DemoApp = {
    urls,
    targets,
    // An app's statements mean by a name what its role's search_path says.
    run: (side, statement) => sessions[side].transaction(sessions[side].query(statement), { searchPath: "theirs" })
  }
  yield* Effect.forEach(ddl.replit, (statement) => app.run("replit", statement))
  yield* Effect.forEach(ddl.external, (statement) => app.run("external", statement))
  return app
})

const server = EmbeddedPostgres.make({ settings: { fsync: "off", full_page_writes: "off" } })

const perfis = (more: string) =>
  `create table perfis (
    id text primary key,
    nome text not null,
    email text${more},
    updated_at timestamptz not null default now()
  )`

/** The external side is stricter, so that the demo has something to refuse. */
const ddl: Readonly<Record<Side, ReadonlyArray<string>>> = {
  replit: [
    perfis(""),
    "insert into perfis (id, nome, email) values ('ana', 'Ana Souza', 'ana@exemplo.pt'), ('bia', 'Bia Lima', 'bia@exemplo.pt')"
  ],
  external: [
    perfis(" constraint email_tem_arroba check (email like '%@%')"),
    "insert into perfis (id, nome, email) values ('caio', 'Caio Reis', 'caio@exemplo.pt')"
  ]
}
