/**
 * Every variable that can be set, in the order in which they are told, with its default and what it means. `SyncConfig` reads
 * them, and `npm run docs` makes the settings tables of both READMEs of this.
 */

/** A description is Markdown, with links as from the project's root. */
export type Variable =
  /** `default` is written as a person would set it. */
  | { readonly default: string; readonly description: string }
  /** `unset` says what it is to leave it out, where no value stands for that. */
  | { readonly unset: string; readonly description: string }

export const variables = {
  DATABASE_URL: {
    unset: "required",
    description: "Replit's database"
  },
  EXTERNAL_DB_URL: {
    unset: "required",
    description: "the external database; in both URLs a host with `-pooler` is refused"
  },
  SYNC_ALLOW_PLAINTEXT: {
    default: "false",
    description:
      "`true`: a URL without TLS is accepted for hosts other than this machine and Replit's `helium`: see TLS below"
  },
  SYNC_TABLES: {
    default: "perfis",
    description:
      "the tables, separated by commas: `perfis`, `loja.pedidos`, `\"Any Name\"`; without a schema it is `public`. "
      + "`*` takes in [all tables](docs/tables.md#all-tables) of `public`, `loja.*` those of the schema `loja`"
  },
  SYNC_EXCLUDE: {
    unset: "nothing",
    description: "what a wildcard leaves out, written as in `SYNC_TABLES`: `sessoes,loja.\"Log\"`"
  },
  SYNC_STAMP: {
    default: "updated_at",
    description: "the column that says when a row last changed; `perfis=atualizado_em,…` for single tables"
  },
  SYNC_CONFLICT_POLICY: {
    default: "last-write-wins",
    description: "or `replit-wins`, `external-wins`; `perfis=external-wins,…` for single tables"
  },
  SYNC_HIDE_COLUMNS: {
    unset: "none",
    description: "columns whose values are shown nowhere, as `perfis.email, loja.clientes.cpf`: see "
      + "[hidden columns](docs/operating.md#hidden-columns)"
  },
  SYNC_INTERVAL: {
    default: "5 minutes",
    description: "the pause after each cycle, more than 0 and at most 24 days: `30 seconds`, `1 hour`"
  },
  SYNC_SCHEDULE: {
    default: "spaced",
    description:
      "`eco`: a change on Replit wakes the service, and external is visited less and less often while nothing "
      + "changes there: see [what a schedule costs](docs/neon-and-replit.md#what-a-schedule-costs)"
  },
  SYNC_MAX_INTERVAL: {
    default: "60 minutes",
    description: "the longest pause of `eco`, not less than `SYNC_INTERVAL` and at most 24 days"
  },
  SYNC_LIVE: {
    default: "false",
    description: "`true`: a change on either side wakes the service at once: see [live "
      + "mode](docs/neon-and-replit.md#live-mode); not together with `eco`"
  },
  SYNC_BATCH_ROWS_MAX: {
    default: "25000",
    description: "most rows of one batch, 1 to 1000000; batches start small and find their size by themselves"
  },
  SYNC_CYCLE_MAX: {
    default: "2 hours",
    description:
      "a cycle that takes longer is ended and told; the next one goes on with the rest. More than 0, at most 24 "
      + "days"
  },
  SYNC_RETENTION: {
    default: "7 days",
    description:
      "how long the history of synced changes is kept, at most 36500 days; `0` keeps what the protocol needs. Old "
      + "history is removed by the next cycle that has something to do"
  },
  SYNC_KEEP_CONFLICTS: {
    default: "90 days",
    description:
      "how long lost versions stay in the journal, restored or not, from 1 to 36500 days: see [what is kept, and "
      + "how long](docs/operating.md#what-is-kept-and-how-long)"
  },
  SYNC_ABANDONED_AFTER: {
    default: "30 days",
    description:
      "when nobody has run a sync for so long, only the newest change of each row is kept; at least 1 hour, `never` "
      + "keeps them all"
  },
  SYNC_QUEUE_MAX: {
    default: "1 GB",
    description:
      "the same for a table of which more is waiting, index and all, while no service is connected; at least 1 MB, "
      + "`never` is no limit"
  },
  SYNC_RETRY_FOR: {
    default: "60 seconds",
    description:
      "how long commands and `--once` go on trying what may pass by itself, at most 1 day; `0` tries once. The "
      + "service tries for its interval, at most a minute, then waits for the next cycle"
  },
  SYNC_LOG_FORMAT: {
    default: "auto",
    description: "`pretty`, `logfmt` or `json`; `auto` is `pretty` on a terminal, else `logfmt`"
  },
  SYNC_AUTO_SETUP: {
    default: "true",
    description: "`false`: a run never sets anything up by itself, only `setup` does"
  },
  SYNC_TOUCH: {
    default: "true",
    description: "`false`: don't install the trigger that keeps the stamp column true (see [what it does to "
      + "tables](docs/tables.md#what-it-does-to-them))"
  },
  SYNC_BRAKE: {
    default: "50 rows, 20 %",
    description:
      "a table is held when one cycle would delete, or overwrite in conflict, more rows of one side than both; "
      + "`off` never holds: see [the brake](docs/operating.md#the-brake)"
  },
  SYNC_VERIFY_BUDGET: {
    default: "20 MB",
    description:
      "bytes a day that [the rolling proof](docs/operating.md#the-rolling-proof) may take out of both databases, as "
      + "in `500 kB` or `1 GB`; `off` proves nothing by itself"
  },
  SYNC_VERIFY_REPAIR: {
    default: "false",
    description: "`true`: what the rolling proof finds different is made equal by the conflict rule"
  },
  SYNC_HTTP_PORT: {
    unset: "off",
    description:
      "the port of [the dashboard](docs/operating.md#the-dashboard) and of [measures](docs/operating.md#measures), "
      + "1 to 65535"
  },
  SYNC_HTTP_HOST: {
    default: "127.0.0.1",
    description: "where it listens; any address that others can reach, as `0.0.0.0`, needs `SYNC_HTTP_TOKEN`"
  },
  SYNC_HTTP_TOKEN: {
    unset: "none",
    description: "what whoever asks must show: a secret of 16 characters or more, as `openssl rand -hex 32` prints one"
  },
  SYNC_NOTIFY_URL: {
    unset: "none",
    description: "a webhook that the running service tells what a person should know, each thing once: see "
      + "[telling](docs/operating.md#telling); a secret, `https`"
  },
  SYNC_NOTIFY_FORMAT: {
    unset: "by the host",
    description: "`json`, `slack` or `discord`, where the host of `SYNC_NOTIFY_URL` does not say it"
  },
  OTEL_EXPORTER_OTLP_ENDPOINT: {
    unset: "none",
    description: "an OpenTelemetry collector, as `http://collector:4318`: see [traces](docs/operating.md#traces)"
  },
  OTEL_EXPORTER_OTLP_HEADERS: {
    unset: "none",
    description: "what that one wants to be sent along, as `api-key=secret`"
  },
  OTEL_EXPORTER_OTLP_PROTOCOL: {
    default: "http/protobuf",
    description: "or `http/json`"
  },
  OTEL_SERVICE_NAME: {
    default: "vaivem",
    description: "what the service is called there"
  },
  EXTERNAL_CAPTURE: {
    default: "triggers",
    description: "`timestamp`: [nothing is installed in the external database](docs/nothing-installed.md)"
  },
  EXTERNAL_WINDOW: {
    default: "15 minutes",
    description:
      "with `timestamp`: so long may a transaction on external take from setting its stamps to its commit; more "
      + "than 0, at most 7 days"
  },
  EXTERNAL_SWEEP_EVERY: {
    default: "0",
    description: "with `timestamp`: how often keys are compared to find deletes, as in `1 hour`; `0` is each cycle"
  }
} as const satisfies Readonly<Record<string, Variable>>

export type Name = keyof typeof variables

// The keys of a literal are its names, and nothing else.
export const names = Object.keys(variables) as ReadonlyArray<Name>
