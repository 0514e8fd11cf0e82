/** Two memory databases with the table `perfis`, and the layer that programs run on. */
import { Effect, Either, Layer } from "effect"
import { parseUrl } from "../../src/domain/ConnectionTarget.ts"
import type { Side } from "../../src/domain/Side.ts"
import type { TableName } from "../../src/domain/TableName.ts"
import type { Database } from "../../src/services/Database.ts"
import { ExternalDb } from "../../src/services/ExternalDb.ts"
import type { MemoryTable, Row } from "../../src/services/memory/MemoryTable.ts"
import type { MemoryServer } from "../../src/services/MemoryDatabase.ts"
import * as MemoryDatabase from "../../src/services/MemoryDatabase.ts"
import { ReplitDb } from "../../src/services/ReplitDb.ts"
import type { Settings } from "../../src/services/SyncConfig.ts"
import { SyncConfig } from "../../src/services/SyncConfig.ts"

export interface MemoryPair {
  readonly servers: Readonly<Record<Side, MemoryServer>>
  /** Databases and settings; a side can be replaced, to fail for example. */
  readonly layer: (
    settings?: Partial<Settings>,
    replaced?: Partial<Readonly<Record<Side, Database>>>
  ) => Layer.Layer<ReplitDb | ExternalDb | SyncConfig>
}

export const perfis: TableName = { schema: "public", name: "perfis" }

export const perfisTable: MemoryTable = {
  name: perfis,
  columns: [
    { name: "id", type: "text" },
    { name: "nome", type: "text" },
    { name: "email", type: "text" },
    { name: "updated_at", type: "timestamp with time zone", default: "now()" }
  ],
  key: ["id"],
  uniques: [{ name: "perfis_email", columns: ["email"] }]
}

export const profile = (id: string, nome: string): Row => ({
  id,
  nome,
  email: `${id}@exemplo.pt`,
  updated_at: "2024-01-01 00:00:00+00"
})

export const makePair = Effect.fnUntraced(function*(
  tables: Partial<Readonly<Record<Side, ReadonlyArray<MemoryTable>>>> = {}
) {
  const servers = {
    replit: yield* MemoryDatabase.make("replit", { tables: tables.replit ?? [perfisTable] }),
    external: yield* MemoryDatabase.make("external", { tables: tables.external ?? [perfisTable] })
  }
  const target = (side: Side) => Either.getOrThrow(parseUrl(side, `postgresql://u:p@${side}/db`))
  const pair: MemoryPair = {
    servers,
    layer: (settings, replaced) =>
      Layer.mergeAll(
        Layer.succeed(ReplitDb, replaced?.replit ?? servers.replit.connect()),
        Layer.succeed(ExternalDb, replaced?.external ?? servers.external.connect()),
        // Tests of other things may delete what they like.
        SyncConfig.layer({ replitUrl: target("replit"), externalUrl: target("external"), brake: null, ...settings })
      )
  }
  return pair
})
