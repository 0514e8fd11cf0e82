/**
 * Two databases that hold a sample, on two servers: one is filled and the other has the same tables empty, or none. All that
 * is in them belongs to one ordinary role.
 */
import { Effect, Redacted, type Scope } from "effect"
import { randomBytes } from "node:crypto"
import { opposite, type Side, sides } from "../../src/domain/Side.ts"
import type { EmbeddedPostgres } from "../../src/services/EmbeddedPostgres.ts"
import { connect, query, type TestClient, type TestSqlError } from "../support/TestClient.ts"
import type { SampleError } from "./SampleError.ts"
import * as SampleFile from "./SampleFile.ts"
import * as SampleSchema from "./SampleSchema.ts"

export interface SampleMember {
  readonly side: Side
  readonly url: Redacted.Redacted
  /** The app's connection. */
  readonly app: TestClient
}

export interface SamplePair extends Readonly<Record<Side, SampleMember>> {
  readonly tables: ReadonlyArray<SampleSchema.SampleTable>
}

export interface Way {
  /** The side that has the rows. */
  readonly filled: Side
  /** The other side has the tables, empty; else it has none, and `setup --create-missing` makes them. */
  readonly other: "empty" | "none"
}

export const make = (
  servers: Readonly<Record<Side, EmbeddedPostgres>>,
  steps: ReadonlyArray<SampleFile.Step>,
  way: Way
): Effect.Effect<SamplePair, SampleError | TestSqlError, Scope.Scope> =>
  Effect.gen(function*() {
    const pair = yield* Effect.all({
      replit: member("replit", servers.replit),
      external: member("external", servers.external)
    })
    const filled = pair[way.filled].app
    yield* SampleFile.load(filled, steps)
    const tables = yield* SampleSchema.read(filled)
    if (way.other === "empty") {
      const { app } = pair[opposite(way.filled)]
      yield* SampleFile.load(app, steps)
      yield* app.query(`truncate ${tables.map(({ sql }) => sql).join(", ")}`)
    }
    for (const side of sides) yield* pair[side].app.query(`${ways[side]}; ${pinned}`)
    return { ...pair, tables }
  })

const member = (side: Side, server: EmbeddedPostgres) =>
  Effect.gen(function*() {
    const name = `sample_${randomBytes(6).toString("hex")}`
    yield* query(server.url(), `create role ${name} login password '${name}'`)
    yield* query(server.url(), `create database ${name} owner ${name}`)
    yield* Effect.addFinalizer(() => Effect.orDie(query(server.url(), `drop database ${name} with (force)`)))
    const url = Redacted.make(
      Object.assign(new URL(Redacted.value(server.url(name))), { username: name, password: name }).href
    )
    return { side, url, app: yield* connect(url) } satisfies SampleMember
  })

/** The two roles print and read values differently, as somebody may have set them up: the program must not care. */
const ways: Readonly<Record<Side, string>> = {
  replit:
    `alter role current_user set datestyle = 'German, DMY'; alter role current_user set intervalstyle = 'sql_standard';
    alter role current_user set timezone = 'America/Sao_Paulo'; alter role current_user set extra_float_digits = '-3';
    alter role current_user set bytea_output = 'escape'; alter role current_user set search_path = pg_catalog`,
  external: `alter role current_user set datestyle = 'SQL, MDY'; alter role current_user set intervalstyle = 'iso_8601';
    alter role current_user set timezone = 'Asia/Kathmandu'; alter role current_user set search_path = '"$user"'`
}

/** So that both servers print a value in one way, whatever their versions. */
const pinned = `set datestyle = 'ISO, YMD'; set intervalstyle = 'postgres'; set timezone = 'UTC';
  set extra_float_digits = 1; set bytea_output = 'hex'; set search_path = public`
