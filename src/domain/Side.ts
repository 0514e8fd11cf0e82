/**
 * Which of the two databases: `replit` is the app's own, `external` the other one (typically at Neon). The two are
 * equal in everything but three things: the lease is taken on Replit's, runs are recorded there, and it wins a tie.
 */
export type Side = "replit" | "external"

/** Both sides, in the order in which people are told about them. */
export const sides: readonly [Side, Side] = ["replit", "external"]

/** The other one. */
export const opposite = (side: Side): Side => side === "replit" ? "external" : "replit"

/** How messages name the side, as in "the Replit database" and "the external database". */
export const label = (side: Side): string => side === "replit" ? "Replit" : "external"

/** The setting that leads to the side's database; messages name it as the thing to change. */
export const urlSetting = (side: Side): "DATABASE_URL" | "EXTERNAL_DB_URL" =>
  side === "replit" ? "DATABASE_URL" : "EXTERNAL_DB_URL"
