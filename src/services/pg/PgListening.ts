/** Who hears at once that the app changed something in a PostgreSQL database: LISTEN, and the gate of `sql/0016_live.sql`. */
import { Effect } from "effect"
import type { TableName } from "../../domain/TableName.ts"
import type { Listener, Listening } from "../Database.ts"
import type { PgSession } from "./PgSession.ts"

/** The part of `Database` that listens. */
export const make = (session: PgSession): Listening => ({
  listen: Effect.map(session.listen("vaivem"), ({ heard, query }): Listener => {
    let [keeper, closed] = [false, false]
    return {
      heard,
      look: Effect.fnUntraced(function*(names: ReadonlyArray<TableName>, { anyway } = { anyway: false }) {
        const rows = yield* query(
          "select vaivem.attend($1::text[], $2::text[], $3::boolean, $4::boolean, $5::boolean)::text as answer",
          [names.map(({ schema }) => schema), names.map(({ name }) => name), keeper, closed, anyway]
        )
        const answer: WireAnswer = JSON.parse(String(rows[0]!.answer))
        keeper = answer.keeper
        closed = answer.closed && keeper
        return { waiting: answer.waiting.map((n) => names[n - 1]!), resting: answer.closed }
      })
    }
  })
})

interface WireAnswer {
  /** This session keeps the gate: no other listener can close it. */
  readonly keeper: boolean
  readonly closed: boolean
  /** Places in the question, from 1. */
  readonly waiting: ReadonlyArray<number>
}
