/**
 * The statements that move one table's rows, as text: a `SyncedTable` seen from one side, with every identifier quoted
 * by node-postgres. Pure. Values never stand in these texts, only names and numbers of ours.
 *
 * Names used throughout: `t` the table, `p` its queue, `h` its history, `c` the claim (source), `s` the stage (target).
 * Key columns are k1…, old keys was1…, and the other columns that travel v1…, by their place in `SyncedTable.columns`.
 */
import * as Pg from "pg"
import type { Side } from "../../domain/Side.ts"
import { opposite } from "../../domain/Side.ts"
import type { Column, Key, SyncedTable } from "../../domain/SyncedTable.ts"
import type { TableName } from "../../domain/TableName.ts"
import type { Phase, RangeSet, Selected, Stretch } from "../Database.ts"
import { moveOn } from "./PgSequences.ts"

const id = Pg.escapeIdentifier
const text = Pg.escapeLiteral

export type TableSql = ReturnType<typeof make>

/** Where changes, history, conflicts and quarantine of one table are kept: names as they stand in statements. */
export interface Places {
  /** Brought here for the length of a transaction: no trigger writes into them. */
  readonly areElsewhere: boolean
  readonly pending: string
  readonly history: string
  readonly conflicts: string
  readonly quarantine: string
  /** Moves a sequence of the target past the staged rows; the stage's column is named. */
  readonly moveOn: (sequence: TableName, column: string) => string
}

/** In our schema, as `vaivem.capture` makes them. */
const installed = (stem: string): Places => ({
  areElsewhere: false,
  pending: `vaivem.${id(`${stem}_pending`)}`,
  history: `vaivem.${id(`${stem}_history`)}`,
  conflicts: "vaivem.conflicts",
  quarantine: "vaivem.quarantine",
  moveOn
})

/** @param stem what our objects' names for this table begin with, on this side: `vaivem.tables.stem`. */
export const make = (table: SyncedTable, side: Side, stem: string, places: Places = installed(stem)) => {
  const { conflicts, history, pending, quarantine } = places
  const { key, name } = table
  const shape = table.shapes[side]
  const t = `${id(name.schema)}.${id(name.name)}`
  const here = `${text(name.schema)}, ${text(name.name)}`
  const isHere = (alias: string) =>
    `${alias}.table_schema = ${text(name.schema)} and ${alias}.table_name = ${text(name.name)}`

  const regclass = `${text(t)}::regclass`
  const stored = shape.columns.filter(({ generated }) => !generated).map((column) => column.name)

  const numbers = key.map((_, index) => index + 1)
  /**
   * Compares the values of the n-th key column as its primary key does. Never by the operator's bare name: where a merge has the
   * role's own search_path, an operator that somebody made in `public` for just this type would go before PostgreSQL's.
   */
  const op = (n: number, sign: "=" | ">" | "<" | "<=" = "=") => {
    const { operators } = typeOf(key[n - 1]!)
    return `operator(${operators === null ? "pg_catalog" : id(operators)}.${sign})`
  }
  const ks = (alias: string) => numbers.map((n) => `${alias}.k${n}`).join(", ")
  const wass = (alias: string) => numbers.map((n) => `${alias}.was${n}`).join(", ")
  const keyTexts = (alias: string, prefix = "k") =>
    `array[${numbers.map((n) => `${alias}.${prefix}${n}::text`).join(", ")}]`
  const same = (a: string, b: string) => numbers.map((n) => `${a}.k${n} ${op(n)} ${b}.k${n}`).join(" and ")
  const tIs = (alias: string, prefix = "k", other = "t") =>
    key.map((column, index) => `${other}.${id(column)} ${op(index + 1)} ${alias}.${prefix}${index + 1}`).join(" and ")
  const tKeyTexts = `array[${key.map((column) => `t.${id(column)}::text`).join(", ")}]`
  const typeOf = (column: string) => shape.columns.find((found) => found.name === column)!
  /** Without their domains, which may refuse the null that a key may be here at times. */
  const keyTypes = key.map((column) => typeOf(column).plain)
  /**
   * Key columns whose integers are shorter here: a key that this side can't hold must still be staged, for its row to be
   * refused and its delete to find nothing.
   */
  const short = numbers.filter((n) => {
    const base = typeOf(key[n - 1]!).base
    const theirs = table.shapes[opposite(side)].columns.find((column) => column.name === key[n - 1])!
    return base in integerMax && base !== theirs.base
  })
  /** What another side's key is read as. */
  const stagedTypeOf = (n: number) => short.includes(n) ? "bigint" : typeOf(key[n - 1]!).base
  const stagedKeys = numbers.map((n) => short.includes(n) ? `p.k${n}::bigint as k${n}` : `p.k${n}`).join(", ")
  const fitting = short.map((n) => `abs(s.k${n}) <= ${integerMax[typeOf(key[n - 1]!).base]}`)

  /** Where a travelling column stands in claim and stage: its key number, or its own. */
  const staged = (column: string) => {
    const k = key.indexOf(column)
    return k >= 0 ? `k${k + 1}` : `v${table.columns.indexOf(column)}`
  }
  /** As it is in the stage, where what a delete doesn't bring is null: some domains refuse that. */
  const emptiable = (column: string) => {
    const { plain, type } = typeOf(column)
    return `t.${id(column)}${plain === type ? "" : `::${plain}`}`
  }
  const values = table.columns.filter((column) => !key.includes(column))
  const writable = values.filter((column) => typeOf(column).identity !== "always")
  /** Parts of the key that can be equal and still print differently, as 1.0 and 1.00 do: they are content too. */
  const inexact = key.filter((column) => printsVariously(typeOf(column)) && typeOf(column).identity === null)
  const compared = [...inexact, ...values]
  const sRow = compared.map((column) => `s.${staged(column)}`).join(", ")
  const tRow = compared.map(emptiable).join(", ")
  /** Of the version that the source sent: the stamp column has the same precision on both sides. */
  const stagedStampUs = () => {
    const changed = "coalesce(s.changed_us, -9223372036854775807)"
    return table.stamp === null
      ? changed
      : `case when s.present then ${micros(`s.${staged(table.stamp)}`)} else ${changed} end`
  }
  const differs = compared.length === 0 ? "false" : `row(${tRow})::record *<> row(${sRow})::record`
  const equal = compared.length === 0 ? "true" : `row(${tRow})::record *= row(${sRow})::record`
  const assignments = writable.map((column) => `${id(column)} = s.${staged(column)}`)

  const unique = compared.filter((column) => inexact.includes(column) || shape.uniqueColumns.includes(column))
  const uniqueDiffers = unique.length === 0
    ? "false"
    : `row(${unique.map(emptiable).join(", ")})::record *<> row(${
      unique.map((column) => `s.${staged(column)}`).join(", ")
    })::record`
  /** Unique columns that can be empty for a moment, while rows pass their values on to each other. */
  const loosened = unique.filter((column) => writable.includes(column) && !typeOf(column).notNull)
  const updating = (columns: ReadonlyArray<string>, which: string) =>
    columns.length === 0 ?
      null :
      `update ${t} t set ${columns.map((column) => `${id(column)} = s.${staged(column)}`).join(", ")}
      from pg_temp.vaivem_stage s where ${tIs("s")} and s.present and ${applies} and ${differs} and ${which}`

  const micros = (expression: string) =>
    `case when ${expression} is null then null when ${expression} = 'infinity' then 9223372036854775807`
    + ` when ${expression} = '-infinity' then -9223372036854775807`
    + ` else least(extract(epoch from ${expression}) * 1000000, 9223372036854775807)::bigint end`
  /** Null for a mark, which is older than any change. In whole microseconds floating point is exact until the year 2255. */
  const changedUs = `case when c.changed_at = '-infinity' then null
      when c.changed_at = 'infinity' then 9223372036854775807
      else (date_part('epoch', c.changed_at) * 1000000)::bigint end`
  /** The other way round, of a staged row. */
  const stagedChangedAt = `case when s.changed_us is null then '-infinity'
      when s.changed_us = 9223372036854775807 then 'infinity'
      else timestamptz 'epoch' + s.changed_us * interval '1 microsecond' end`
  /** Stamp of a row that is there; of one that isn't, when its change was logged. */
  const stampUs = (changedAt: string) => micros(table.stamp === null ? changedAt : `t.${id(table.stamp)}`)

  /** All columns of this side, not only those that travel: what lost is kept whole. */
  const rowTexts = (columns: ReadonlyArray<string>, value: (column: string) => string) =>
    `jsonb_object(array[${columns.map(text).join(", ")}]::text[], array[${
      columns.map((column) => `${value(column)}::text`).join(", ")
    }]::text[])`
  const tTexts = rowTexts(shape.columns.map((column) => column.name), (column) => `t.${id(column)}`)
  const sTexts = rowTexts(table.columns, (column) => `s.${staged(column)}`)

  /** Rows that the merge writes: uncontested, or contested and not left to the target. */
  const applies = "(s.verdict is null or s.verdict in ('overwrite', 'supersede'))"
  /** Of the contested ones, those after which nothing of the target's is pending any more. */
  const settles = "s.verdict in ('overwrite', 'supersede', 'agree')"
  /** The same text on both sides for the same value: a time without zone is read as UTC where the types differ. */
  const hashed = (column: string) => {
    const other = table.shapes[opposite(side)].columns.find((found) => found.name === column)
    const zoneless = typeOf(column).base === "timestamp without time zone"
    return zoneless && other?.base !== typeOf(column).base ? `t.${id(column)} at time zone 'UTC'` : `t.${id(column)}`
  }
  /**
   * Texts in an array keep apart what a joined text would run together, and null from empty; hashing them takes half as long
   * as printing the row. The hash of an array is linear in those of its elements, so that two rows that swapped a value
   * would leave the sum as it was: hashed once more, it isn't.
   */
  const rowHash = `hashint8extended(hash_array_extended(array[${
    table.columns.map((column) => `(${hashed(column)})::text`).join(", ")
  }] collate "C", 0), 1)`
  const keyHash = key.length === 1
    ? `hashtextextended(t.${id(key[0]!)}::text collate "C", 0)`
    : `hashint8extended(hash_array_extended(array[${
      key.map((column) => `t.${id(column)}::text`).join(", ")
    }] collate "C", 0), 0)`

  /**
   * A mark takes no row lock, so its number can be newer than that of a change that commits later: only if there is
   * nothing else does it stand for the key, or the late change would pass for the mark that was applied before.
   */
  const newestReal = "coalesce(max(p.change_id) filter (where p.operation <> 'MARK'), max(p.change_id))"
  /**
   * A mark is no change, so none is told when it is settled. Of the first copy of 5,000,000 rows that would be as many, half a
   * gigabyte for a week. Where the queue is elsewhere, what is told here is what must be settled there: marks, too.
   */
  const isChange = (alias: string) => places.areElsewhere ? "true" : `${alias}.operation <> 'MARK'`
  const claimColumns = [
    ...numbers.map((n) => `k${n}`),
    "change_id",
    "changed_at",
    "bounces",
    "entry",
    "place",
    ...numbers.map((n) => `was${n}`)
  ]
    .join(", ")
  /**
   * In the index's order, so the last is the newest; an ORDER BY of its own would sort once for each key. By their
   * texts, because array_agg of arrays makes one array of more dimensions.
   */
  const lastWas = numbers
    .map((n) => {
      const all = `array_agg(p.was${n}::text) filter (where p.was1 is not null)`
      return `(${all})[count(p.was1)]::${keyTypes[n - 1]} as was${n}`
    })
    .join(", ")
  const notQuarantined = (alias: string) =>
    `not exists (select from ${quarantine} q where ${isHere("q")} and q.key = ${keyTexts(alias)})`
  /** A key that stands in an array of texts. */
  const keyIn = (alias: string, texts: string) =>
    numbers.map((n) => `${alias}.k${n} ${op(n)} (${texts})[${n}]::${keyTypes[n - 1]}`).join(" and ")
  /** An entry of the quarantine: by its texts, unless equal keys can have different ones. */
  const quarantineIs = (alias: string) => inexact.length === 0 ? `q.key = ${keyTexts(alias)}` : keyIn(alias, "q.key")
  const anyPending = `exists (select from ${pending})`

  /** The old key travels only while it is gone here and pending itself: then the new one may take its place there. */
  const travellingWas = (n: number) =>
    `case when x.was1 is not null and not exists (select from ${t} o where ${tIs("x", "was", "o")})
          and exists (select from ${pending} o where ${
      numbers.map((m) => `o.k${m} ${op(m)} x.was${m}`).join(" and ")
    }) then x.was${n} end`
  /** Old keys of rows that are there under a new one. */
  const moved = `select distinct ${wass("p")} from ${pending} p
      where p.was1 is not null and exists (select from ${t} t where ${tIs("p")})`
  /** Of a key that was looked at. */
  const isSelected = ({ after, changed, upTo }: Selected = {}) =>
    [
      ...(after === undefined ? [] : [`x.change_id > ${after}`]),
      ...(upTo === undefined ? [] : [`x.change_id <= ${upTo}`]),
      ...(changed === true ? ["x.changed"] : []),
      "true"
    ].join(" and ")
  const isMoved = `exists (select from moved m where ${numbers.map((n) => `m.was${n} ${op(n)} x.k${n}`).join(" and ")})`
  /** Keys that are given as an array of texts for each column, $1…, with their types. */
  const given = `(select ${numbers.map((n) => `x.k${n}::${keyTypes[n - 1]} as k${n}`).join(", ")}
      from unnest(${numbers.map((n) => `$${n}::text[]`).join(", ")}) as x (${numbers.map((n) => `k${n}`).join(", ")}))`
  /** The same as the other side may write them, numbered. */
  const asked = `unnest(${numbers.map((n) => `$${n}::text[]`).join(", ")}) with ordinality as u (${
    numbers.map((n) => `u${n}`).join(", ")
  }, n)`
  const isAsked = key.map((column, index) =>
    `t.${id(column)} ${op(index + 1)} u.u${index + 1}::${stagedTypeOf(index + 1)}`
  ).join(" and ")
  /** Of those, the ones with a pending change, and none after the bound, which comes after the keys. */
  const upTo = `$${key.length + 1}::bigint`
  const isSettled = `exists (select from ${pending} p where ${same("p", "u")})
      and not exists (select from ${pending} p where ${same("p", "u")} and p.change_id > ${upTo})`
  /** Of all entries of a key, in the index's order. */
  const ofKey = `${newestReal} as change_id, max(p.changed_at) as changed_at,
          (max(p.change_id * 256 + p.bounces) & 255)::smallint as bounces,
          case when count(*) = 1 then min(p.ctid) end as entry, ${lastWas}`
  /**
   * Looks at no more than so many keys of the queue, whatever their phase and whether they are selected, so that no statement
   * of a claim grows with the queue; claims those that are meant, and says where to go on. Rows of the table and single entries
   * are noted by their places, which are theirs as long as the claim's snapshot: finding them again by their keys took half as
   * long again, and with an index in an order of its own several times as long.
   */
  const claimInto = (from: string, where: string, phase: Phase, looked: string, rows: string, only?: Selected) => `
    with ${only?.vanished !== undefined ? `moved as materialized (${moved}), ` : ""}looked as materialized (
      select x.*, t.ctid as place, row_number() over (order by ${ks("x")}) as position
      from (select x.*, ${isSelected(only)} as selected from (
        select ${ks("p")}, ${only?.changed === true ? "bool_or(p.operation <> 'MARK') as changed," : ""} ${ofKey}
        from ${pending} p ${from}
        where ${where}
        group by ${ks("p")}
        order by ${ks("p")}
        ${looked}) x) x
      left join ${t} t on x.selected and ${tIs("x")}
    ), claimed as (
      insert into pg_temp.vaivem_claim (n, ${claimColumns})
      select row_number() over (order by x.position), ${
    ks("x")
  }, x.change_id, x.changed_at, x.bounces, x.entry, x.place,
        ${numbers.map(travellingWas).join(", ")}
      from looked x
      where x.selected and x.place is ${phase === "upserts" ? "not null" : "null"} ${
    only?.vanished === undefined ? "" : `and ${only.vanished ? "not " : ""}${isMoved}`
  }
      order by x.position ${rows}
      returning n, bounces, was1, ${ks("vaivem_claim")}
    ), l as (select count(*) as looked, max(position) as position from looked)
    select c.*, l.looked,
      to_jsonb((select ${keyTexts("o")} from claimed o order by o.n desc limit 1))::text as last,
      to_jsonb((select ${keyTexts("o")} from looked o where o.position = l.position))::text as seen
    from l, (select count(*) as rows, count(was1) as moves, max(bounces) as bounces from claimed) c`

  /** Keys beyond that of $3…; as one comparison of rows where the operators allow it, for the index starts there then. */
  const afterKey = (alias: string, from: number) =>
    key.every((column) => typeOf(column).operators === null)
      ? `(${ks(alias)}) > (${keyTypes.map((type, index) => `$${index + from}::text::${type}`).join(", ")})`
      : `(${
        numbers.map((n) =>
          [
            ...numbers.slice(0, n - 1).map((m) => `${alias}.k${m} ${op(m)} $${m + from - 1}::text::${keyTypes[m - 1]}`),
            `${alias}.k${n} ${op(n, ">")} $${n + from - 1}::text::${keyTypes[n - 1]}`
          ].join(" and ")
        ).join(" or ")
      })`

  /** Rows of `t` after the key that begins at a parameter, or up to it; as one comparison where the operators allow it. */
  const within = (sign: ">" | "<=", from: number) => {
    const given = (n: number) => `$${from + n - 1}::text::${stagedTypeOf(n)}`
    const column = (n: number) => `t.${id(key[n - 1]!)}`
    if (key.every((name) => typeOf(name).operators === null)) {
      return `(${numbers.map(column).join(", ")}) ${sign} (${numbers.map(given).join(", ")})`
    }
    const strict = sign === ">" ? ">" : "<"
    const parts = numbers.map((n) =>
      [
        ...numbers.slice(0, n - 1).map((m) => `${column(m)} ${op(m)} ${given(m)}`),
        `${column(n)} ${op(n, n === key.length ? sign : strict)} ${given(n)}`
      ].join(" and ")
    )
    return `(${parts.join(" or ")})`
  }
  /** Parameters: the key after which, then the one up to which, as far as they are there; from `$from` on. */
  const inStretch = ({ after, upTo }: Stretch, from = 1) =>
    [
      ...(after === null ? [] : [within(">", from)]),
      ...(upTo === null ? [] : [within("<=", from + (after === null ? 0 : key.length))]),
      "true"
    ].join(" and ")
  const tKeys = key.map((column) => `t.${id(column)}`).join(", ")

  /** What `facts` found, when nothing else has to be locked for. */
  const locks = places.areElsewhere ? "true" : "current_setting('vaivem.locks') = 'true'"
  /** A stage row's own key, or the old one of a changed key. */
  const lockWaiting = (prefix: "k" | "was") =>
    `select count(*) from (
      select from ${t} t join pg_temp.vaivem_stage s on ${tIs("s", prefix)}
      where ${locks} order by ${ks("s")} for no key update of t) x`
  const lockSkipping = (prefix: "k" | "was") =>
    `with locked as (
        select s.n from ${t} t join pg_temp.vaivem_stage s on ${tIs("s", prefix)}
        order by ${ks("s")} for no key update of t skip locked)
      update pg_temp.vaivem_stage s set verdict = 'locked'
      where exists (select from ${t} t where ${tIs("s", prefix)}) and not exists (select from locked l where l.n = s.n)`
  const wasIs = (alias: string) => numbers.map((n) => `${alias}.k${n} ${op(n)} s.was${n}`).join(" and ")

  const stageColumns = [
    "n",
    "change_id",
    "present",
    "changed_us",
    "bounces",
    ...numbers.map((n) => `was${n}`),
    ...table.columns.map(staged)
  ]
  /** Rows that were there when they were locked can't have changed since; others may have come. */
  const expectedOfLocked = `select
      count(*) filter (where s.present and l.n is not null and ${differs}) as updated,
      count(*) filter (where s.present and l.n is null and (s.was1 is null or t.${id(key[0]!)} is null)) as inserted,
      count(*) filter (where not s.present and l.n is not null) as deleted
    from pg_temp.vaivem_stage s left join pg_temp.vaivem_locked l on l.n = s.n left join ${t} t on ${tIs("s")}
    where ${applies}`
  /** Of a row's own stamp, or null. */
  const rowStampUs = table.stamp === null ? "null::bigint" : micros(`t.${id(table.stamp)}`)
  /** What a key is while it is brought here: a side that has shorter integers must still hold the other one's. */
  const mountedTypes = numbers.map((n) => short.includes(n) ? "bigint" : keyTypes[n - 1]!)
  const mountedKey = (prefix: "k" | "was") =>
    numbers.map((n) => {
      const column = `t.${id(key[n - 1]!)}`
      return `${column}${short.includes(n) ? "::bigint" : `::${keyTypes[n - 1]}`} as ${prefix}${n}`
    }).join(", ")
  /** A key that the text of an array holds. */
  const unmounted = (text: string) => numbers.map((n) => `(${text}::text[])[${n}]::${mountedTypes[n - 1]}`).join(", ")

  const keyOf = (source: string) => `(select max(p.change_id) from ${pending} p where ${same("p", source)})`

  return {
    name,
    stem,
    keyTypes,
    pending,
    history,
    conflicts,
    t,
    // ---- source ----------------------------------------------------------------------------------------------------
    makeClaim: `create temp table vaivem_claim on commit drop as
      select 0 as n, ${ks("p")}, ${wass("p")}, p.change_id, p.changed_at, p.bounces, p.ctid as entry, p.ctid as place
      from ${pending} p with no data`,
    /** $1 keys to look at, $2 rows to claim; then the key to go on after, if any. */
    claimNext: (phase: Phase, after: boolean, quarantine: boolean, only?: Selected) =>
      claimInto(
        "",
        [
          ...(after ? [afterKey("p", 3)] : []),
          ...(quarantine ? [notQuarantined("p")] : []),
          "true"
        ].join(" and "),
        phase,
        "limit $1::bigint",
        "limit $2::bigint",
        only
      ),
    /**
     * In the order in which changes were logged: $1 entries to look at, $2 the place in the queue after which, $3 the one up to
     * which, then the key whose predecessors are through, if any. A key is taken with its first entry, so one that was claimed
     * and is not acknowledged yet is not taken once more.
     */
    claimLogged: (phase: Phase, after: boolean, quarantine: boolean) => {
      const wanted = [
        `t.ctid is ${phase === "upserts" ? "not null" : "null"}`,
        ...(after ? [afterKey("e", 4)] : []),
        ...(quarantine ? [notQuarantined("e")] : [])
      ].join(" and ")
      // Of what is of the other phase nothing is looked up but whether its row is there: OFFSET 0 has the planner do that first.
      return `
    with entries as materialized (
      select p.ctid as at, p.change_id, ${ks("p")} from ${pending} p
      where p.ctid > $2::text::tid and p.ctid <= $3::text::tid order by p.ctid limit $1::bigint
    ), claimed as (
      insert into pg_temp.vaivem_claim (n, ${claimColumns})
      select row_number() over (order by x.at), ${ks("x")}, x.change_id, x.changed_at, x.bounces, x.entry, x.place, ${
        numbers.map(travellingWas).join(", ")
      }
      from (
        select e.at, e.change_id as own, e.place, ${ks("e")}, a.* from (
          select e.*, t.ctid as place from entries e left join ${t} t on ${tIs("e")}
          where ${wanted} offset 0) e
        cross join lateral (
          select min(p.change_id) as first, ${ofKey} from ${pending} p where ${same("p", "e")}) a) x
      where x.own = x.first
      order by x.at
      returning n, bounces, was1, ${ks("vaivem_claim")}
    )
    select c.*, l.looked, l.at, pg_relation_size(${
        text(pending)
      }::regclass) / current_setting('block_size')::bigint as pages,
      to_jsonb((select ${keyTexts("o")} from claimed o order by o.n desc limit 1))::text as last
    from (select count(*) as looked, max(e.at)::text as at from entries e) l,
      (select count(*) as rows, count(was1) as moves, max(bounces) as bounces from claimed) c`
    },
    /** $1… an array of texts for each key column. */
    claimKeys: (phase: Phase) =>
      claimInto(
        `join unnest(${numbers.map((n) => `$${n}::text[]`).join(", ")}) as u (${numbers.map((n) => `u${n}`).join(", ")})
          on ${numbers.map((n) => `p.k${n} ${op(n)} u.u${n}::${keyTypes[n - 1]}`).join(" and ")}`,
        "true",
        phase,
        "",
        ""
      ),
    /** Keys that bounce between the sides without an app's write are held (promise 3). */
    holdBouncing: `
      with held as (delete from pg_temp.vaivem_claim c where c.bounces >= ${bouncesMax} returning c.*)
      insert into ${quarantine} (table_schema, table_name, key, change_id, message, attempts, next_attempt_at)
      select ${here}, ${keyTexts("h")}, h.change_id, $1, 100, 'infinity' from held h
      on conflict (table_schema, table_name, key) do update
        set change_id = excluded.change_id, message = excluded.message, next_attempt_at = 'infinity'`,
    claimed: `select count(*) as rows, count(c.was1) as moves,
      (select to_jsonb(${keyTexts("l")})::text from pg_temp.vaivem_claim l order by l.n desc limit 1) as last
      from pg_temp.vaivem_claim c`,
    copyClaim: (phase: Phase) =>
      `copy (
      select c.n, c.change_id, ${phase === "upserts" ? "true" : "false"}, ${changedUs}, c.bounces, ${wass("c")},
        ${
        table.columns.map((column) =>
          phase === "upserts" ? `t.${id(column)}` : key.includes(column) ? `c.${staged(column)}` : "null"
        ).join(", ")
      }
      from (select c.* from pg_temp.vaivem_claim c order by c.n) c
      ${phase === "upserts" ? `join ${t} t on t.ctid = c.place and ${tIs("c")}` : ""}) to stdout`,
    /**
     * $1 numbers, $2 the newest change of each on the other side: those that were applied here. A mark says nothing of changes
     * before it: it takes no row lock, so one with a lower number may be committed later.
     */
    known: `select c.n, u.newest::text as newest
      from unnest($1::int[], $2::bigint[]) as u (n, newest) join pg_temp.vaivem_claim c on c.n = u.n
      where exists (select from ${history} h
        where h.source_change_id = u.newest and ${same("h", "c")} and h.changed_at <> '-infinity')`,
    /** $1 numbers that stay pending. */
    keepClaimed: "delete from pg_temp.vaivem_claim c where c.n = any ($1::int[])",
    acknowledge: [
      ...["p.ctid = c.entry", `c.entry is null and ${same("p", "c")}`].map((those) =>
        `with gone as (delete from ${pending} p using pg_temp.vaivem_claim c where ${those}
         returning p.change_id, p.operation, ${ks("p")}, p.changed_at)
       insert into ${history} (change_id, operation, ${numbers.map((n) => `k${n}`).join(", ")}, changed_at, origin)
       select g.change_id, g.operation, ${ks("g")}, g.changed_at, ${text(side)} from gone g where ${isChange("g")}`
      ),
      // For many keys in quarantine against many claimed ones.
      "select set_config('enable_hashjoin', 'on', true)",
      `delete from ${quarantine} q using pg_temp.vaivem_claim c where ${isHere("q")} and ${quarantineIs("c")}`,
      `update ${quarantine} q set next_attempt_at = clock_timestamp()
       where ${isHere("q")} and q.next_attempt_at > clock_timestamp() and q.next_attempt_at < 'infinity'
         and q.blocked_by in (select ${keyTexts("c")} from pg_temp.vaivem_claim c)`
    ],
    // ---- target ----------------------------------------------------------------------------------------------------
    applying: `select set_config('vaivem.applying', format('%I.%I', ${text(name.schema)}, ${text(name.name)}), true)`,
    makeStage: (stage: string, onCommit: "drop" | "delete rows" = "drop") =>
      `create temp table ${stage} on commit ${onCommit} as
      select 0 as n, 0::bigint as change_id, true as present, 0::bigint as changed_us,
        0::smallint as bounces, ${wass("p")}, ${stagedKeys}, ${
        values.length === 0 ? "" : `${values.map((column) => `${emptiable(column)} as ${staged(column)}`).join(", ")}, `
      }null::bigint as newest, null::text as verdict
      from ${pending} p, ${t} t with no data`,
    copyStage: (stage: string) => `copy pg_temp.${stage} (${stageColumns.join(", ")}) from stdin`,
    /** The rows of a stage of its own that come along with another table's insert. */
    seed: (stage: string): Seeding => {
      const those = `from pg_temp.${stage} s where s.present and not exists (select from ${t} t where ${tIs("s")})
        and not exists (select from ${pending} p where ${same("p", "s")})`
      return {
        count: `select count(*) as rows ${those}`,
        insert: `insert into ${t} (${table.columns.map(id).join(", ")}) overriding system value
          select ${table.columns.map((column) => `s.${staged(column)}`).join(", ")} ${those} order by s.n`
      }
    },
    /**
     * Tells capture how often the rows of this batch bounced, so that it needn't look at the stage for each write; how many
     * rows are to be there; and whether they must be locked before they are judged. Where the queue is empty they need not:
     * the merge's own writes lock them, and `raced` looks for what came meanwhile. Locking 200,000 rows that were to be deleted
     * or updated took 0.7 to 1 s of the server's time, a record in its log for each, and the writes did the same again.
     */
    facts: `select set_config('vaivem.bounces', max(s.bounces)::text, true),
        set_config('vaivem.locks', ${anyPending}::text, true) as locks,
        count(*) filter (where s.present) as present, count(*) as rows
      from pg_temp.vaivem_stage s`,
    /**
     * Of a batch whose first rows aren't there it is assumed that none is, as long as nothing is pending here: counting took 1.2
     * to 5 µs a row, for the planner reads all of the table's keys for a batch as large as a tenth of it.
     */
    assume: `select set_config('vaivem.all_new', (current_setting('vaivem.locks') = 'false' and not exists (
      select from (select s.* from pg_temp.vaivem_stage s where s.present limit ${sampled}) s
      where exists (select from ${t} t where ${tIs("s")})))::text, true)`,
    assumeNothing: "select set_config('vaivem.all_new', 'false', true)",
    /** How many of the rows that are to be there are there already: most batches only insert, or only update. */
    there: `select case when current_setting('vaivem.all_new', true) = 'true' then 0 else (
      select count(*) from pg_temp.vaivem_stage s where s.present and exists (select from ${t} t where ${tIs("s")})
    ) end as there, current_setting('vaivem.all_new', true) as assumed`,
    /** Locks in key order, so that two of us, or an app that does the same, can't deadlock. */
    lockWaiting: lockWaiting("k"),
    /** The same for the old rows of changed keys: `move` rewrites them. */
    lockWasWaiting: lockWaiting("was"),
    lockSkipping: lockSkipping("k"),
    lockWasSkipping: lockSkipping("was"),
    /** In a statement of its own after the locks: in one statement the change that the lock waited for is missed. */
    judge: `with found as (
        select s.n, p.newest, t.${id(key[0]!)} is not null as there,
          s.changed_us is null as source_marked, ${stagedStampUs()} as stamp_us, p.changed_at = '-infinity' as target_marked,
          case when t.${id(key[0]!)} is null then ${micros("p.changed_at")} else ${
      stampUs("p.changed_at")
    } end as target_us,
          case when s.present and t.${id(key[0]!)} is not null then ${equal}
            else s.present = (t.${id(key[0]!)} is not null) end as equal,
          exists (select from ${history} h where ${same("h", "s")} and h.source_change_id = s.change_id) as applied
        from pg_temp.vaivem_stage s
        cross join lateral (
          select max(p.change_id) as newest, max(p.changed_at) as changed_at from ${pending} p where ${
      same("p", "s")
    }) p
        left join ${t} t on ${tIs("s")}
        where ${anyPending} and p.newest is not null and s.verdict is null)
      update pg_temp.vaivem_stage s set newest = f.newest, verdict = 'contested' from found f where s.n = f.n
      returning s.n, s.newest, s.present, f.stamp_us, f.there, f.target_us, f.equal, f.applied,
        f.source_marked, f.target_marked`,
    /** A changed key whose old or new key is contested goes as a delete and an insert. */
    unlinkContested: `update pg_temp.vaivem_stage s set was1 = null
      where s.was1 is not null and (s.verdict is not null or exists (
        select from ${pending} p where ${wasIs("p")}))`,
    unlinkAll: "update pg_temp.vaivem_stage s set was1 = null where s.was1 is not null",
    locked: "select s.n from pg_temp.vaivem_stage s where s.verdict = 'locked'",
    /** $1 numbers, $2 verdicts. */
    setVerdicts: `update pg_temp.vaivem_stage s set verdict = u.verdict
      from unnest($1::int[], $2::text[]) as u (n, verdict) where s.n = u.n`,
    /** What the merge is expected to write, where a user's trigger may drop rows. */
    expected: places.areElsewhere ? expectedOfLocked : `select
        count(*) filter (where s.present and t.${id(key[0]!)} is not null and ${differs}) as updated,
        count(*) filter (where s.present and t.${id(key[0]!)} is null) as inserted,
        count(*) filter (where not s.present and t.${id(key[0]!)} is not null) as deleted
      from pg_temp.vaivem_stage s left join ${t} t on ${tIs("s")}
      where ${applies}`,
    move: key.some((column) => typeOf(column).identity === "always") ?
      null :
      `update ${t} t set ${[...key.map((column) => `${id(column)} = s.${staged(column)}`), ...assignments].join(", ")}
      from pg_temp.vaivem_stage s
      where ${tIs("s", "was")} and s.was1 is not null and s.present and s.verdict is null
        and not exists (select from ${t} n where ${tIs("s", "k", "n")})`,
    journal:
      `insert into ${conflicts} (table_schema, table_name, key, reason, policy, lost_operation, lost, won, lost_stamp)
      select ${here}, ${keyTexts("s")}, 'conflict', ${text(table.policy)},
        case when t.${id(key[0]!)} is null then 'DELETE' else 'UPSERT' end,
        case when t.${id(key[0]!)} is not null then ${tTexts} end,
        case when s.present then ${sTexts} end,
        ${table.stamp === null ? "null" : `t.${id(table.stamp)}::timestamptz`}
      from pg_temp.vaivem_stage s left join ${t} t on ${tIs("s")} where s.verdict = 'overwrite'`,
    /**
     * In two statements, because an UPDATE that names a column of a unique index locks the row against an app that adds
     * a child to it, even if the column keeps its value (with a BEFORE trigger on the table, and the touch trigger is one).
     */
    update: updating(writable.filter((column) => !shape.uniqueColumns.includes(column)), `not (${uniqueDiffers})`),
    updateUnique: unique.length === 0 ? null : updating([...inexact, ...writable], uniqueDiffers),
    /**
     * Rows that swapped unique values, or passed them on in a ring, can't be updated one after the other: their unique
     * columns become null first.
     */
    loosen: loosened.length === 0 ?
      null :
      `update ${t} t set ${
        loosened.map((column) => `${id(column)} = null`).join(", ")
      } from pg_temp.vaivem_stage s where ${tIs("s")} and s.present and ${applies} and ${uniqueDiffers}`,
    /**
     * Where they can't be null: deleted and inserted again in one statement, at whose end foreign keys find every key as
     * it was. The ORDER BY reads all that was deleted before the first row is inserted. What only this side has is kept.
     */
    replace: unique.length === 0 ? null : `with gone as (
        delete from ${t} t using pg_temp.vaivem_stage s
        where ${tIs("s")} and s.present and ${applies} and ${uniqueDiffers} returning t.*)
      insert into ${t} (${stored.map(id).join(", ")}) overriding system value
      select ${
      stored.map((column) => table.columns.includes(column) ? `s.${staged(column)}` : `t.${id(column)}`).join(", ")
    } from gone t join pg_temp.vaivem_stage s on ${tIs("s")} order by s.n`,
    /** But never where a foreign key would take children along or empty them, or where a trigger waits for deletes. */
    mayReplace: `select not exists (select from pg_constraint f
        where f.contype = 'f' and f.confrelid = ${regclass} and f.confdeltype <> 'a')
      and not exists (select from pg_trigger g join pg_proc f on f.oid = g.tgfoid
        where g.tgrelid = ${regclass} and not g.tgisinternal and g.tgenabled <> 'D' and g.tgtype & 8 <> 0
          and f.pronamespace is distinct from to_regnamespace('vaivem')) as may`,
    /** Rows that the merge should have written and didn't, whatever it counted. */
    unapplied: unapplied(),
    insert: `insert into ${t} (${table.columns.map(id).join(", ")}) overriding system value
      select ${table.columns.map((column) => `s.${staged(column)}`).join(", ")} from pg_temp.vaivem_stage s
      where s.present and ${applies} and not exists (select from ${t} t where ${tIs("s")}) order by s.n`,
    /** The same where none of the rows is there; one that comes meanwhile is a race, by the primary key. */
    insertAll: `insert into ${t} (${table.columns.map(id).join(", ")}) overriding system value
      select ${table.columns.map((column) => `s.${staged(column)}`).join(", ")} from pg_temp.vaivem_stage s
      where s.present and ${applies}`,
    /** Or the app's next insert here gets an id that is applied now, and fails. Without parameters, and often nothing. */
    moveOn: shape.sequences.filter(({ column }) => table.columns.includes(column))
      .map(({ column, name }) => places.moveOn(name, staged(column))),
    delete: `delete from ${t} t using pg_temp.vaivem_stage s where ${tIs("s")} and not s.present and ${applies}`,
    settle: [
      `with gone as (
         delete from ${pending} p using pg_temp.vaivem_stage s
         where ${settles} and ${same("p", "s")} and p.change_id <= s.newest returning p.*)
       insert into ${history} (change_id, operation, ${numbers.map((n) => `k${n}`).join(", ")}, changed_at, origin)
       select g.change_id, g.operation, ${ks("g")}, g.changed_at, ${text(side)} from gone g where ${isChange("g")}`,
      `delete from ${quarantine} q using pg_temp.vaivem_stage s
       where ${settles} and ${isHere("q")} and ${quarantineIs("s")}`
    ],
    log: `insert into ${history} (source_change_id, operation, ${
      numbers.map((n) => `k${n}`).join(", ")
    }, changed_at, origin)
      select s.change_id, case when s.present then 'UPSERT' else 'DELETE' end, ${ks("s")}, ${stagedChangedAt}, ${
      text(opposite(side))
    }
      from pg_temp.vaivem_stage s where ${[`(s.verdict is null or ${settles})`, ...fitting].join(" and ")}`,
    /** A quarantined row of this side may pass now that the row that blocked it has changed. */
    wakeBlocked: `update ${quarantine} q set next_attempt_at = clock_timestamp()
      where ${isHere("q")} and q.next_attempt_at > clock_timestamp() and q.next_attempt_at < 'infinity'
        and q.blocked_by in (
        select ${keyTexts("s")} from pg_temp.vaivem_stage s where ${applies} or s.verdict = 'agree')`,
    checkDeferred: "set constraints all immediate",
    /** Changes of rows that we wrote, made after we judged them: then the batch was judged on stale eyes. */
    raced: `${raced()} as raced`,
    /**
     * The row in the way of a batch of one: equal to the staged row in all that a unique index is made of. Expressions
     * and predicate are PostgreSQL's own text of the index, and name columns plainly.
     */
    blocker: ({ expressions, nullsEqual, predicate }: UniqueIndex) => {
      const those = predicate === null ? "" : ` where ${predicate}`
      const what = `array[${key.map((column) => `${id(column)}::text`).join(", ")}] as key, ${
        expressions.map((expression, index) => `${expression} as e${index}`).join(", ")
      }`
      const row = table.columns.map((column) => `s.${staged(column)} as ${id(column)}`).join(", ")
      const is = nullsEqual ? "is not distinct from" : "="
      return `select to_jsonb(a.key)::text as key from (select ${what} from ${t}${those}) a
        join (select ${what} from (select ${row} from pg_temp.vaivem_stage s) x${those}) b
          on ${expressions.map((_, index) => `a.e${index} ${is} b.e${index}`).join(" and ")}
        where a.key <> b.key limit 1`
    },
    // ---- few rows: see services/pg/PgFew.ts --------------------------------------------------------------------------
    /** Whether equal keys may have different texts, by which entries could not be found. */
    hasInexactKey: inexact.length > 0 || key.some((column) => printsVariously(typeOf(column))),
    /**
     * The first keys of the queue in both phases, none of it if the rows are large: where the entries are, their ids, the key,
     * how many keys there are, how many of them were changed, the most bounces; then the row as it is staged.
     */
    copyFew: (rows: number, bytes: number) =>
      `copy (
      with looked as materialized (
        select ${ks("p")}, ${newestReal} as change_id, max(p.changed_at) as changed_at,
          (max(p.change_id * 256 + p.bounces) & 255)::smallint as bounces, count(p.was1) as moves,
          array_agg(p.ctid)::text as places, array_agg(p.change_id)::text as ids
        from ${pending} p group by ${ks("p")} order by ${ks("p")} limit ${rows}
      ), sized as materialized (
        select coalesce(sum(${
        table.columns.map((column) => `coalesce(pg_column_size(t.${id(column)}), 0)`).join(" + ")
      }), 0) as bytes from looked c join ${t} t on ${tIs("c")}
      )
      select c.places, c.ids, ${keyTexts("c")}::text, count(*) over (), sum(c.moves) over (), max(c.bounces) over (),
        row_number() over (order by ${ks("c")}), c.change_id, t.${id(key[0]!)} is not null,
        ${changedUs}, c.bounces, ${numbers.map(() => "null").join(", ")},
        ${
        table.columns.map((column) =>
          key.includes(column)
            ? `case when t.${id(key[0]!)} is null then c.${staged(column)} else t.${id(column)} end`
            : `t.${id(column)}`
        ).join(", ")
      }
      from looked c left join ${t} t on ${tIs("c")}
      where (select z.bytes from sized z) <= ${bytes}
      order by ${ks("c")}) to stdout`,
    anyPending: `select ${anyPending} as there`,
    /** $1 places, $2 change ids. */
    acknowledgeFew: `with gone as (
        delete from ${pending} p using unnest($1::tid[], $2::bigint[]) as u (place, change_id)
        where p.ctid = u.place and p.change_id = u.change_id returning p.*)
      insert into ${history} (change_id, operation, ${numbers.map((n) => `k${n}`).join(", ")}, changed_at, origin)
      select g.change_id, g.operation, ${ks("g")}, g.changed_at, ${text(side)} from gone g where ${isChange("g")}`,
    /** What a stage that is kept was made like. */
    print: `select ${print()} as print`,
    /**
     * Fails where what was written is not what was judged, or the stage was made for another table: the text is for the
     * server's log. $1 the print of a stage that was kept.
     */
    assertFew: (guarded: boolean, kept: boolean) =>
      `select case when f.raced or f.unapplied or f.changed
          then ('vaivem applies these rows in another way: ' || row(f.raced, f.unapplied, f.changed)::text)::integer end
      from (select (${raced()}) as raced, ${guarded ? `(${unapplied()}) > 0` : "false"} as unapplied,
        ${kept ? `${print()} is distinct from $1::text` : "false"} as changed) f`,
    // ---- a queue that is elsewhere, brought here for a transaction: see services/timestamp/Mount.ts ------------------
    /** Key columns of pending entries, their old keys, and how an array of texts becomes them. */
    mountedKey,
    unmounted,
    noteLocked:
      `create temp table vaivem_locked on commit drop as select s.n, ${rowStampUs} as stamp_us, ${tKeyTexts} as key
      from pg_temp.vaivem_stage s join ${t} t on ${tIs("s")}`,
    /** Keys of the stage, old ones of changed keys too, and the rows of them that are there, with their stamps. */
    lockedAndStaged: `select
      (select coalesce(jsonb_agg(jsonb_build_array(l.key::text, l.stamp_us)) filter (where l.stamp_us is not null), '[]')::text
       from pg_temp.vaivem_locked l) as rows,
      (select coalesce(jsonb_agg(k.key), '[]')::text from (
         select ${keyTexts("s")}::text as key from pg_temp.vaivem_stage s
         union select array[${numbers.map((n) => `s.was${n}::text`).join(", ")}]::text from pg_temp.vaivem_stage s
         where s.was1 is not null
         union select l.key::text from pg_temp.vaivem_locked l) k) as keys`,
    /** Rows that were written, with their stamps, and whether a trigger made others of them. */
    written:
      `select coalesce(jsonb_agg(jsonb_build_array(${tKeyTexts}::text, ${rowStampUs}, ${differs}, s.bounces)), '[]')::text as rows
      from pg_temp.vaivem_stage s join ${t} t on ${tIs("s")} where s.present and ${applies}`,
    /** Claimed rows as they were sent: an expression. */
    sent: `(select coalesce(jsonb_agg(jsonb_build_array(${tKeyTexts}::text, ${rowStampUs})), '[]')
      from pg_temp.vaivem_claim c join ${t} t on ${tIs("c")} where ${rowStampUs} is not null)`,
    /** $1… an array of texts for each key column: those of the rows that are there. */
    stampsOf: `select coalesce(jsonb_agg(jsonb_build_array(${tKeyTexts}::text, ${rowStampUs})), '[]')::text as rows
      from ${asked} join ${t} t on ${isAsked} where ${rowStampUs} is not null`,
    /** Of what differs, the rows that are only here. */
    stampsOfOnlyHere:
      `select coalesce(jsonb_agg(jsonb_build_array(${tKeyTexts}::text, ${rowStampUs})), '[]')::text as rows
      from ${t} t join pg_temp.vaivem_differences d on ${tIs("d")} where d.only_here and ${rowStampUs} is not null`,
    /**
     * Rows with a stamp since then, unless they are the ones that are known by their number and hash: then none. A key and
     * a stamp each.
     */
    scan: (since: bigint, known: { readonly rows: number; readonly hash: string }) => {
      const at = `'epoch'::timestamptz + ${since} * interval '1 microsecond'`
      const bound = typeOf(table.stamp!).base === "timestamp without time zone" ? `(${at}) at time zone 'UTC'` : at
      return `with found as materialized (
          select ${tKeyTexts} as key, ${rowStampUs} as us from ${t} t where t.${id(table.stamp!)} >= ${bound}
        ), hashed as (
          select count(*) as rows, coalesce(sum(${versionHash("f.key", "f.us")}), 0) as hash from found f)
        select (select jsonb_agg(jsonb_build_array(f.key::text, f.us)) from found f)::text as found from hashed h
        where h.rows <> ${known.rows} or h.hash <> ${known.hash}::numeric`
    },
    // ---- comparing keys, to find deletes -----------------------------------------------------------------------------
    keyDigest: (of: number, within: RangeSet) =>
      `select ${range(of)} as range, count(*) as rows, sum(${keyHash})::text as hash
      from ${t} t where ${inRanges(within)} group by 1`,
    copyKeys: (ranges: RangeSet) => `copy (select 0, ${tKeys} from ${t} t where ${inRanges(ranges)}) to stdout`,
    inRanges,
    applies,
    tIs,
    same,
    asMounted: { pending, history },
    // ---- comparing -------------------------------------------------------------------------------------------------
    digest: (of: number, within: RangeSet) =>
      `select ${range(of)} as range, count(*) as rows, sum(${rowHash})::text as hash
      from ${t} t where ${inRanges(within)} group by 1`,
    copyDigests: (ranges: RangeSet) =>
      `copy (select ${rowHash}, ${key.map((column) => `t.${id(column)}`).join(", ")} from ${t} t where ${
        inRanges(ranges)
      }) to stdout`,
    makeTheirs:
      `create temp table vaivem_theirs on commit drop as select 0::bigint as hash, ${stagedKeys} from ${pending} p with no data`,
    copyTheirs: `copy pg_temp.vaivem_theirs (hash, ${numbers.map((n) => `k${n}`).join(", ")}) from stdin`,
    /**
     * Of few ranges the own rows come first into a table of their own: a statement that looks into a temporary table gets no
     * parallel workers, and took 1.2 s to find 100 of 1,000,000 rows. Of many, that table would be as large as this one.
     */
    makeDifferences: (ranges: RangeSet): ReadonlyArray<string> => {
      const own = key.map((column, index) => `t.${id(column)} as k${index + 1}`).join(", ")
      if (ranges.only === null || ranges.only.length * 4 > ranges.of) {
        return [`create temp table vaivem_differences on commit drop as
          select ${own}, o.hash is null as only_here, exists (select from ${pending} p where ${tIs("p")}) as pending
          from ${t} t left join pg_temp.vaivem_theirs o on ${tIs("o")}
          where ${inRanges(ranges)} and (o.hash is null or o.hash <> ${rowHash})`]
      }
      return [
        `create temp table vaivem_own on commit drop as select ${own}, ${rowHash} as hash from ${t} t
          where ${inRanges(ranges)}`,
        `create temp table vaivem_differences on commit drop as
          select ${ks("w")}, o.hash is null as only_here,
            exists (select from ${pending} p where ${same("p", "w")}) as pending
          from pg_temp.vaivem_own w left join pg_temp.vaivem_theirs o on ${same("o", "w")}
          where o.hash is distinct from w.hash`
      ]
    },
    differences:
      `select count(*) filter (where d.only_here) as only_here, count(*) filter (where not d.only_here) as different,
        count(*) filter (where d.pending) as pending from pg_temp.vaivem_differences d`,
    sample: `select to_jsonb(${keyTexts("d")})::text as key, d.only_here, d.pending from pg_temp.vaivem_differences d
      order by ${ks("d")} limit $1::bigint`,
    /**
     * In key order, as claims read them: with 5,000,000 uuids in the order of the table, marking took 50 s instead of 26 s, and
     * every batch touched as many pages of the queue as it had rows.
     * @param wins whether keys that both sides have win against the other side's marks.
     */
    markDifferences: (which: "all" | "only-here" | "different", wins: boolean) =>
      `insert into ${pending} (operation, ${numbers.map((n) => `k${n}`).join(", ")}, changed_at)
      select 'MARK', ${ks("d")}, ${
        wins ? "case when d.only_here then '-infinity' else clock_timestamp() end" : "'-infinity'"
      } from pg_temp.vaivem_differences d
      where not d.pending ${{ all: "", "only-here": "and d.only_here", different: "and not d.only_here" }[which]}
      order by ${ks("d")}`,
    /** After the locks, in a statement of its own: what changed until then is pending, and stays. */
    lockOnlyHere: `select count(*) from (
      select from ${t} t join pg_temp.vaivem_differences d on ${tIs("d")}
      where d.only_here and not d.pending order by ${ks("d")} for update of t) x`,
    /** For capture, which takes what is in the stage for the sync's own work. */
    stageOnlyHere: `insert into pg_temp.vaivem_stage (n, ${numbers.map((n) => `k${n}`).join(", ")})
      select row_number() over (), ${ks("d")} from pg_temp.vaivem_differences d
      where d.only_here and not exists (select from ${pending} p where ${same("p", "d")})`,
    removeStaged: `with gone as (
        delete from ${t} t using pg_temp.vaivem_stage s where ${tIs("s")} returning t.*)
      insert into ${conflicts} (table_schema, table_name, key, reason, lost_operation, lost, lost_stamp)
      select ${here}, ${tKeyTexts}, 'first-contact', 'UPSERT', ${tTexts},
        ${table.stamp === null ? "null" : `t.${id(table.stamp)}::timestamptz`} from gone t`,
    // ---- proving ---------------------------------------------------------------------------------------------------
    /** $1 rows to pass over, then the key after which. */
    boundary: (after: Key | null) =>
      `select to_jsonb(${tKeyTexts})::text as key from ${t} t where ${inStretch({ after, upTo: null }, 2)}
      order by ${tKeys} offset $1::bigint limit 1`,
    stretch: (stretch: Stretch) =>
      `select count(*) as rows, coalesce(sum(${rowHash}), 0)::text as hash from ${t} t where ${inStretch(stretch)}`,
    hashes: (stretch: Stretch) =>
      `select to_jsonb(${tKeyTexts})::text as key, (${rowHash})::text as hash from ${t} t where ${inStretch(stretch)}`,
    /** $1… an array of texts for each key column. */
    hashesOf: `select u.n - 1 as asked, (${rowHash})::text as hash
      from ${asked} join ${t} t on ${isAsked}`,
    // ---- surveying: the table alone, nothing of ours -----------------------------------------------------------------
    copyVersions: (ranges: RangeSet) =>
      `copy (select ${rowHash}, ${table.stamp === null ? "null" : micros(`t.${id(table.stamp)}`)}, ${
        key.map((column) => `t.${id(column)}`).join(", ")
      } from ${t} t where ${inRanges(ranges)}) to stdout`,
    /** $1… an array of texts for each key column. */
    lookUp: (columns: ReadonlyArray<string>) =>
      `select u.n - 1 as asked, to_jsonb(${tKeyTexts})::text as key, ${
        rowTexts(columns, (column) => `t.${id(column)}`)
      }::text as texts
      from ${asked} join ${t} t on ${isAsked} order by u.n`,
    /** $1… an array of texts for each key column, then for each of the columns: other rows with their unique values. */
    twins: ({ expressions, nullsEqual, predicate }: UniqueIndex, columns: ReadonlyArray<string>) => {
      const those = predicate === null ? "" : ` where ${predicate}`
      const what = expressions.map((expression, index) => `${expression} as e${index}`).join(", ")
      const names = [...numbers.map((n) => `u${n}`), ...columns.map((_, index) => `c${index}`)]
      const given = columns.map((column, index) => `u.c${index}::${typeOf(column).base} as ${id(column)}`)
      return `select b.asked - 1 as asked, to_jsonb(${tKeyTexts})::text as key
        from (select ${key.map(id).join(", ")}, ${what} from ${t}${those}) t
        join (select asked, ${numbers.map((n) => `asked_k${n}`).join(", ")}, ${what} from (
          select u.n as asked, ${numbers.map((n) => `u.u${n}::${stagedTypeOf(n)} as asked_k${n}`).join(", ")}, ${
        given.join(", ")
      }
          from unnest(${names.map((_, index) => `$${index + 1}::text[]`).join(", ")}) with ordinality as u (${
        names.join(", ")
      }, n)) x${those}) b
        on ${
        expressions.map((_, index) => `t.e${index} ${nullsEqual ? "is not distinct from" : "="} b.e${index}`).join(
          " and "
        )
      }
        where not (${
        key.map((column, index) => `t.${id(column)} ${op(index + 1)} b.asked_k${index + 1}`).join(" and ")
      })
        order by b.asked`
    },
    rowBytes: `select ceil(avg(octet_length(row(${table.columns.map((column) => `x.${id(column)}`).join(", ")})::text)))
        as bytes from (select t.* from ${t} t limit 200) x`,
    // ---- people ----------------------------------------------------------------------------------------------------
    /** $1… the key's texts. */
    keyIs: (alias: string, from = 1) =>
      key.map((column, index) => `${alias}.${id(column)} ${op(index + 1)} $${index + from}::text::${keyTypes[index]}`)
        .join(" and "),
    pendingKeyIs: (alias: string, from = 1) =>
      numbers.map((n) => `${alias}.k${n} ${op(n)} $${n + from - 1}::text::${keyTypes[n - 1]}`).join(" and "),
    keyIn,
    tTexts,
    keyTexts,
    tKeyTexts,
    isHere,
    here,
    newestOf: keyOf,
    /** $1… an array of texts for each key column. */
    markKeys: `insert into ${pending} (operation, ${numbers.map((n) => `k${n}`).join(", ")}, changed_at)
      select 'MARK', ${ks("u")}, '-infinity' from ${given} u`,
    /** The same, then one for each old key column. */
    markMoved: `insert into ${pending} (operation, ${numbers.map((n) => `k${n}, was${n}`).join(", ")}, changed_at)
      select 'MARK', ${
      numbers.map((n) => `x.k${n}::${keyTypes[n - 1]}, x.was${n}::${keyTypes[n - 1]}`).join(", ")
    }, '-infinity'
      from unnest(${[...numbers, ...numbers].map((_, index) => `$${index + 1}::text[]`).join(", ")})
        as x (${[...numbers.map((n) => `k${n}`), ...numbers.map((n) => `was${n}`)].join(", ")})`,
    // ---- the brake -------------------------------------------------------------------------------------------------
    /** $1 how far to count, or null. */
    countRows: `select count(*) as rows from (select from ${t} limit $1::bigint) t`,
    /** $1 numbers of contested keys. */
    stagedKeys: `select to_jsonb(${
      keyTexts("s")
    })::text as key from pg_temp.vaivem_stage s where s.n = any ($1::int[])`,
    stagedMoves: `select to_jsonb(${keyTexts("s")})::text as key, to_jsonb(${keyTexts("s", "was")})::text as was
      from pg_temp.vaivem_stage s where s.was1 is not null`,
    uncontestedDeletes: `select to_jsonb(${keyTexts("s")})::text as key
      from pg_temp.vaivem_stage s join ${t} t on ${tIs("s")}
      where not s.present and s.verdict is null and s.changed_us is not null`,
    /** These three: $1… an array of texts for each key column, then the newest change that is given up. */
    lockGiven: `select from ${t} t join ${given} u on ${tIs("u")} for no key update of t`,
    journalGiven: `insert into ${conflicts} (table_schema, table_name, key, reason, policy, lost_operation, lost)
      select ${here}, ${keyTexts("u")}, 'rejected', ${text(table.policy)},
        case when t.${id(key[0]!)} is null then 'DELETE' else 'UPSERT' end,
        case when t.${id(key[0]!)} is not null then ${tTexts} end
      from ${given} u left join ${t} t on ${tIs("u")} where ${isSettled}`,
    giveUp: `with given as materialized (select u.* from ${given} u where ${isSettled}),
      gone as (delete from ${pending} p using given u where ${same("p", "u")} and p.change_id <= ${upTo} returning p.*),
      told as (
        insert into ${history} (change_id, operation, ${numbers.map((n) => `k${n}`).join(", ")}, changed_at, origin)
        select g.change_id, g.operation, ${ks("g")}, g.changed_at, ${text(side)} from gone g where ${isChange("g")}),
      freed as (delete from ${quarantine} q using given u where ${isHere("q")} and ${quarantineIs("u")})
      select count(*) as keys from given`,
    dueKeys: `select to_jsonb(q.key)::text as key from ${quarantine} q
      where ${isHere("q")} and (q.next_attempt_at <= clock_timestamp()
        or q.change_id < (select max(p.change_id) from ${pending} p where ${keyIn("p", "q.key")}))
      order by q.next_attempt_at limit $1::bigint`
  }

  function raced() {
    return `select exists (
      select from pg_temp.vaivem_stage s join ${pending} p on ${same("p", "s")}
      where ${anyPending} and ${applies} and p.change_id > coalesce(s.newest, 0) and p.bounces = 0
      union all
      select from pg_temp.vaivem_stage s join ${pending} p on ${wasIs("p")}
      where ${anyPending} and s.was1 is not null and ${applies} and p.bounces = 0)`
  }
  function unapplied() {
    return `select count(*) as rows from pg_temp.vaivem_stage s left join ${t} t on ${tIs("s")}
      where ${applies} and case when s.present then t.${id(key[0]!)} is null or ${differs}
        else t.${id(key[0]!)} is not null end`
  }
  /** Number, name and type of the columns that a stage is made from. */
  function print() {
    return `(select pg_catalog.sum(pg_catalog.hashtextextended(pg_catalog.concat_ws(' ', a.attrelid, a.attnum, a.attname,
        a.atttypid, a.atttypmod, a.attcollation), 0::bigint))::text from pg_catalog.pg_attribute a
      where a.attrelid in (${regclass}, ${text(pending)}::regclass) and a.attnum > 0 and not a.attisdropped)`
  }
  /** The highest bits of the key's hash: ranges that are divided once more are whole. */
  function range(of: number) {
    return `((${keyHash} >> ${64 - Math.log2(of)}) & ${of - 1})`
  }
  function inRanges({ of, only }: RangeSet) {
    return only === null ? "true" : `${range(of)} = any ('{${only.join(",")}}'::bigint[])`
  }
}

/** Of a key (an array of texts) and a stamp: the same in both databases. */
export const versionHash = (key: string, us: string): string =>
  `hashint8extended(hash_array_extended((${key} || ${us}::text) collate "C", 0), 1)`

/** How many rows come along with another table's insert, and the statement. */
export interface Seeding {
  readonly count: string
  readonly insert: string
}

/** What a unique index compares. */
export interface UniqueIndex {
  readonly expressions: ReadonlyArray<string>
  readonly predicate: string | null
  readonly nullsEqual: boolean
}

/** Rows that speak for a whole batch: of one in which a tenth is there, they find one in 9 of 10 cases. */
const sampled = 20

/** A key that travelled this often without an app's write is held. */
export const bouncesMax = 3

/** By `Column.base`, the largest of the integers that are shorter than others. */
const integerMax: Readonly<Record<string, number>> = { smallint: 32_767, integer: 2_147_483_647 }

/** Whether equal values of a key column can have different texts. */
const printsVariously = ({ base, looseCollation, operators }: Column): boolean =>
  looseCollation || operators !== null
  || /^(numeric|interval|real|double precision|jsonb|numrange|(\w+\.)?citext)(\[\])?$/.test(base)
