import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { opposite, type Side, sides } from "../../src/domain/Side.ts"
import { discardQuarantine } from "../../src/programs/quarantine.ts"
import { assertConverged, PgPair, type Synced, synced } from "../support/PgPair.ts"

/** The parents are 1, which goes, and 2; 9 is a default. */
const family = (rule: string) => `
  create table pais (id text primary key, updated_at timestamptz);
  create table filhos (id integer primary key, pai text default '9' references pais on delete ${rule}, a text,
    updated_at timestamptz);`

/** As `family`, with children in partitions. */
const partitioned = (rule: string) => `
  create table pais (id text primary key, updated_at timestamptz);
  create table filhos (id integer, pai text default '9' references pais on delete ${rule}, a text, updated_at timestamptz,
    primary key (id)) partition by range (id);
  create table filhos_a partition of filhos for values from (0) to (3);
  create table filhos_b partition of filhos default;`

const dangling = (sync: Synced, side: Side) =>
  sync[side].query(
    "select f.id from filhos f where f.pai is not null and not exists (select from pais p where p.id = f.pai)"
  )

const waiting = Effect.fnUntraced(function*(sync: Synced, side: Side) {
  const found = yield* Effect.forEach(sync.tables, (table) => sync[side].database.quarantined(table))
  return found.flat()
})

/** Versions of children that were journaled, on either side. */
const journaled = (sync: Synced) =>
  Effect.map(
    Effect.forEach(sides, (side) =>
      sync[side].database.conflicts({ table: sync.tables.find(({ name }) => name === "filhos")!, limit: 9 })),
    (both) =>
      both.flat().map(({ lost, reason }) => `${reason} ${lost?.["pai"]} ${lost?.["a"]}`)
  )

const made = "insert into filhos (id, pai, a) values (5, '1', 'novo')"
const pointed = "update filhos set pai = '1', a = 'novo' where id = 1"

const start = Effect.fnUntraced(function*(ddl: string, here: Side, there: string) {
  const sync = yield* synced(ddl, { tables: ["pais", "filhos"] })
  yield* sync.replit.query(
    "insert into pais values ('1'), ('2'), ('9'); insert into filhos (id, pai, a) values (1, '2', 'velho'), (7, '2', 'x')"
  )
  yield* sync.cycle
  yield* assertConverged(sync)
  yield* sync[here].query("delete from pais where id = '1'")
  yield* sync[opposite(here)].query(there)
  return sync
})

layer(PgPair.layer, { excludeTestServices: true })("a parent deleted here, a child there", (it) => {
  for (
    const [what, ddl] of [
      ["NO ACTION", family("no action")],
      ["RESTRICT", family("restrict")],
      ["NO ACTION, deferred", family("no action deferrable initially deferred")]
    ] as const
  ) {
    for (const here of sides) {
      for (const [way, there] of [["made for it", made], ["pointed at it", pointed]] as const) {
        if (what === "RESTRICT" && way === "pointed at it") continue
        it.scoped(`promise 7: by ${what}, both wait until a person says which: deleted on ${here}, ${way} on the other`, () =>
          Effect.gen(function*() {
            const sync = yield* start(ddl, here, there)
            yield* sync.cycle
            yield* sync.cycle
            for (const side of sides) assert.deepStrictEqual(yield* dangling(sync, side), [])
            const [parent, child] = [yield* waiting(sync, here), yield* waiting(sync, opposite(here))]
            for (const refused of [...parent, ...child]) {
              assert.deepStrictEqual(
                [refused.constraint, refused.sqlState === "23503" || refused.sqlState === "23001"],
                [
                  "filhos_pai_fkey",
                  true
                ]
              )
            }
            assert.deepStrictEqual([parent.map(({ table }) => table.name), child.map(({ table }) => table.name)], [
              ["pais"],
              ["filhos"]
            ])
            // Either may be discarded: the parent comes back, or the child's change goes into the journal.
            const undo = way === "made for it" ? [here, parent[0]!] as const : [opposite(here), child[0]!] as const
            yield* sync.run(discardQuarantine(undo[1].id))
            yield* sync.cycle
            yield* sync.cycle
            yield* assertConverged(sync)
            const left = yield* sync.replit.rows("pais")
            assert.lengthOf(left, way === "made for it" ? 3 : 2)
            if (way === "pointed at it") assert.deepStrictEqual(yield* journaled(sync), ["discard 1 novo"])
          }))
      }
    }
  }

  for (const here of sides) {
    for (const [way, there] of [["made for it", made], ["pointed at it", pointed]] as const) {
      it.scoped(`promise 3: CASCADE takes it along and journals it: deleted on ${here}, ${way} on the other`, () =>
        Effect.gen(function*() {
          const sync = yield* start(family("cascade"), here, there)
          for (let cycle = 0; cycle < 3; cycle++) yield* sync.cycle
          yield* assertConverged(sync)
          assert.deepStrictEqual(yield* journaled(sync), ["cascade 1 novo"])
        }))

      for (
        const [what, ddl] of [
          ["SET NULL", family("set null")],
          ["SET DEFAULT", family("set default")],
          ["SET NULL in partitions", partitioned("set null")]
        ] as const
      ) {
        if (what === "SET NULL in partitions" && here === "external") continue
        it.scoped(`promise 3: ${what} leaves the child and journals what it took: deleted on ${here}, ${way} on the other`, () =>
          Effect.gen(function*() {
            const sync = yield* start(ddl, here, there)
            for (let cycle = 0; cycle < 3; cycle++) yield* sync.cycle
            yield* assertConverged(sync)
            const [child] = yield* sync[here].query("select pai, a from filhos where a = 'novo'")
            assert.deepStrictEqual(child, { pai: what === "SET DEFAULT" ? "9" : null, a: "novo" })
            assert.deepStrictEqual(yield* journaled(sync), ["cascade 1 novo"])
          }))
      }
    }
  }

  it.scoped("promise 3: SET NULL within one table journals pending rows, too, and no others", () =>
    Effect.gen(function*() {
      const sync = yield* synced(
        "create table filhos (id integer primary key, pai integer references filhos on delete set null, a text)"
      )
      yield* sync.replit.query("insert into filhos values (1, null, 'a'), (2, 1, 'b'), (3, 1, 'c')")
      yield* sync.cycle
      yield* sync.replit.query("delete from filhos where id = 1")
      yield* sync.external.query("update filhos set a = 'novo' where id = 3")
      for (let cycle = 0; cycle < 3; cycle++) yield* sync.cycle
      yield* assertConverged(sync)
      assert.include(yield* journaled(sync), "cascade 1 novo")
      assert.notInclude((yield* journaled(sync)).join(), "1 b")
    }))
})
