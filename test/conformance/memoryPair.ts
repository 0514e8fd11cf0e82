/** The suite's two databases in memory. */
import { Effect } from "effect"
import type { Side } from "../../src/domain/Side.ts"
import * as MemoryDatabase from "../../src/services/MemoryDatabase.ts"
import type { Member, Pair } from "./Pair.ts"
import { tables } from "./Pair.ts"

const member = (side: Side) =>
  Effect.map(
    MemoryDatabase.make(side, { tables: tables[side] }),
    ({ app, connect, database }): Member => ({ app, database, second: connect() })
  )

export const memoryPair: Effect.Effect<Pair> = Effect.all({ replit: member("replit"), external: member("external") })
