import { Effect } from "effect"
import type { Side } from "../../src/domain/Side.ts"
import * as MemoryDatabase from "../../src/services/MemoryDatabase.ts"
import { type Member, suite, tables } from "../conformance.ts"

const member = (side: Side) =>
  Effect.map(
    MemoryDatabase.make(side, { tables: tables[side] }),
    ({ app, connect, database }): Member => ({ app, database, second: connect() })
  )

suite("MemoryDatabase", Effect.all({ replit: member("replit"), external: member("external") }))
