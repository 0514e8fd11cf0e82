/** The apps of both sides: several at once on few keys, in transactions of one to four statements, some held open for long. */
import { Duration, Effect } from "effect"
import type { Side } from "../../src/domain/Side.ts"
import type { Chance } from "../simulation/Fate.ts"
import { connect, type TestClient } from "../support/TestClient.ts"
import type { Member, TableName } from "./Arena.ts"
import type { Chronicle } from "./Chronicle.ts"

/** A version of a row that an app was told was committed. */
export interface Acknowledged {
  readonly side: Side
  readonly table: TableName
  readonly token: string
}

/** Writes until it is interrupted. Tokens of transactions whose COMMIT was answered are added to `acknowledged`. */
export const write = (
  member: Member,
  name: string,
  chance: Chance,
  chronicle: Chronicle,
  acknowledged: Array<Acknowledged>
) => {
  let written = 0
  const next = () => `${name}.${++written}`

  const transaction = Effect.fnUntraced(function*({ query }: TestClient) {
    const tokens: Array<Acknowledged> = []
    yield* query("begin")
    for (let count = chance.pick([1, 1, 1, 2, 3, 4]); count > 0; count--) {
      const { params, table, text, token } = statement(chance, next())
      const rows = yield* query(text, params)
      if (rows.length > 0) tokens.push({ side: member.side, table, token })
      if (chance.of(0.1)) yield* pause(chance, 50)
    }
    if (chance.of(0.03)) yield* pause(chance, 4_000)
    if (chance.of(0.05)) return yield* query("rollback")
    yield* query("commit")
    acknowledged.push(...tokens)
    yield* chronicle.count("transactions of apps committed")
    return []
  })

  const turn = (client: TestClient) =>
    transaction(client).pipe(
      Effect.catchAll(() =>
        // A constraint, a deadlock, a full disk: the app goes on. If not even this passes, the connection is lost.
        Effect.zipRight(chronicle.count("transactions of apps refused"), client.query("rollback"))
      ),
      Effect.zipRight(Effect.suspend(() => pause(chance, 250)))
    )

  return Effect.scoped(Effect.gen(function*() {
    const client = yield* connect(member.url)
    yield* client.query("set application_name = 'app'; set statement_timeout = '20s'; set lock_timeout = '15s'")
    yield* Effect.forever(turn(client))
  })).pipe(
    Effect.ignore,
    Effect.zipRight(Effect.sleep("300 millis")),
    Effect.forever
  )
}

const pause = (chance: Chance, maxMs: number) => Effect.sleep(Duration.millis(chance.below(maxMs)))

interface Statement {
  readonly table: TableName
  readonly token: string
  /** Returns a row where it wrote one. */
  readonly text: string
  readonly params: ReadonlyArray<unknown>
}

const statement = (chance: Chance, token: string): Statement => {
  const what = chance.below(100)
  const perfil = () => `p${chance.below(60)}`
  const texts = { perfis: odd.perfis(chance), itens: odd.itens(chance), notas: odd.notas(chance) }
  const on = (table: TableName, text: string, params: ReadonlyArray<unknown>): Statement => ({
    table,
    token,
    text,
    params
  })
  if (what < 12) {
    return on(
      "perfis",
      `insert into perfis (id, nome, email, ${columns.perfis}, updated_at) values ($1, $2, $3, ${texts.perfis}, now())
       on conflict do nothing returning 1`,
      [perfil(), token, email(chance)]
    )
  }
  if (what < 30) {
    return on(
      "perfis",
      `update perfis set nome = $2, (${columns.perfis}) = row(${texts.perfis}) where id = $1 returning 1`,
      [perfil(), token]
    )
  }
  if (what < 34) {
    return on("perfis", "update perfis set nome = $2, email = $3 where id = $1 returning 1", [
      perfil(),
      token,
      email(chance)
    ])
  }
  if (what < 40) return on("perfis", "delete from perfis where id = $1", [perfil()])
  if (what < 45) {
    return on("perfis", "update perfis set id = $3, nome = $2 where id = $1 returning 1", [perfil(), token, perfil()])
  }
  if (what < 58) {
    return on(
      "itens",
      `insert into itens (perfil_id, numero, texto, dura, updated_at) select id, $2, $3, ${texts.itens}, now()
       from perfis where id = $1 on conflict do nothing returning 1`,
      [perfil(), chance.below(4), token]
    )
  }
  if (what < 68) {
    return on(
      "itens",
      `update itens set texto = $3, dura = ${texts.itens} where perfil_id = $1 and numero = $2 returning 1`,
      [perfil(), chance.below(4), token]
    )
  }
  if (what < 72) {
    return on("itens", "delete from itens where perfil_id = $1 and numero = $2", [perfil(), chance.below(4)])
  }
  if (what < 85) {
    return on(
      "notas",
      `insert into notas (id, texto, ${columns.notas}) values ($1, $2, ${texts.notas})
       on conflict (id) do update set texto = excluded.texto, (${columns.notas}) = row(${texts.notas}) returning 1`,
      [chance.below(400), token]
    )
  }
  if (what < 92) return on("notas", "delete from notas where id = $1", [chance.below(400)])
  if (what < 95) {
    return on("notas", "update notas set id = $3, texto = $2 where id = $1 returning 1", [
      chance.below(400),
      token,
      chance.below(400)
    ])
  }
  if (what < 99) {
    const first = chance.below(400)
    return on("notas", "update notas set texto = $2 || '#' || id where id between $1 and $1 + 60", [first, token])
  }
  return chance.of(0.3)
    ? on("notas", "truncate notas", [])
    : on(
      "notas",
      `insert into notas (id, texto, ${columns.notas}) select n, $1 || '#' || n, ${texts.notas}
       from generate_series(400, 899) n on conflict (id) do update set texto = excluded.texto`,
      [token]
    )
}

const columns = { perfis: "valor, dados, bruto, momento, lista", notas: "faixa, ponto, tipo, endereco" }

const email = (chance: Chance) => chance.of(0.6) ? null : `e${chance.below(50)}@x.br`

/** Values that are easily spoiled on the way. */
const odd = {
  perfis: (chance: Chance) =>
    [
      chance.pick(["null::numeric", "'NaN'::numeric", "1.10::numeric", "12345678901234567890.123456789::numeric"]),
      chance.pick(["null::jsonb", "'null'::jsonb", "'{\"a\": [1, null, \"\\\\n\"]}'::jsonb", "'1.0'::jsonb"]),
      chance.pick(["null::bytea", "'\\x'::bytea", "'\\x00ff0a5c'::bytea"]),
      chance.pick([
        "null::timestamptz",
        "'infinity'::timestamptz",
        "'0044-03-15 12:00:00.123456+00 BC'::timestamptz",
        "clock_timestamp()"
      ]),
      chance.pick([
        "null::text[]",
        "'{}'::text[]",
        "'[0:1]={NULL,\"NULL\"}'::text[]",
        "array['a,b', '\"', E'\\\\.', E'\\t\\n']"
      ])
    ].join(", "),
  itens: (chance: Chance) =>
    chance.pick(["null::interval", "'1 mon -1 day 00:00:00.000001'::interval", "'-1 year'::interval"]),
  notas: (chance: Chance) =>
    [
      chance.pick(["null::int4range", "'empty'::int4range", "'[1,5)'::int4range"]),
      chance.pick(["null::point", "point(0.1, -1e300)"]),
      chance.pick(["null::humor", "'assim assim'::humor"]),
      chance.pick(["null::inet", "'::1/64'::inet"])
    ].join(", ")
}
