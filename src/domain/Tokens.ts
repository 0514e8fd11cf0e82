/**
 * How a database that was set back in time, replaced or cloned is found out: each side keeps a random token of the other
 * side, which every cycle that writes renews. A high-water mark would be fooled by a restore and more writes than were lost
 * with it, and a system identifier is shared by branches and copies; a token is equal or it is not.
 */
import type { Side } from "./Side.ts"
import { opposite, sides } from "./Side.ts"

/** What one side knows. All null before the pair's first cycle has ended. */
export interface Tokens {
  /** This side's own, as the last cycle that wrote left it. */
  readonly own: string | null
  /** The other side's. */
  readonly peer: string | null
  /** Tokens that the other side may have taken since: announced, and not confirmed, because somebody crashed in between. */
  readonly next: ReadonlyArray<string>
  /** When this side's tokens were renewed last, by its own clock, in milliseconds. */
  readonly renewedAtMs: number | null
}

/** Before the first renewal. */
export const noTokens: Tokens = { own: null, peer: null, next: [], renewedAtMs: null }

/**
 * What a step of the renewal writes; what is left out stays. First each side learns which token the other gets next, then
 * each takes its own, then each forgets what the other had before. A holder of the lease that lost it without knowing renews
 * nothing that somebody else renewed meanwhile: that is what `ifOwn` is for.
 */
export interface Renewal {
  /** Nothing is written unless this is the side's own token. */
  readonly ifOwn?: string | null
  readonly own?: string
  readonly peer?: string
  readonly announce?: string
  readonly forget?: ReadonlyArray<string>
}

/** Null when nothing is written. */
export const renewed = (tokens: Tokens, renewal: Renewal, nowMs: number): Tokens | null => {
  const { announce, forget = [], ifOwn, own, peer } = renewal
  if (ifOwn !== undefined && ifOwn !== tokens.own) return null
  return {
    own: own ?? tokens.own,
    peer: peer ?? tokens.peer,
    next: [...tokens.next, ...(announce === undefined ? [] : [announce])].filter((token) => !forget.includes(token)),
    renewedAtMs: nowMs
  }
}

/** Whether the last renewal went through. After one that was broken off, a restore may not be told until the next has. */
export const isRenewalDone = (tokens: Readonly<Record<Side, Tokens>>): boolean =>
  sides.every((side) => tokens[side].next.length === 0)

/** Whose past it is, and until when each side remembers. */
export interface TimeTravel {
  readonly side: Side
  readonly remembersUntilMs: number | null
  readonly otherRemembersUntilMs: number | null
}

/** The side that went back, or became another; null when both sides are as they left each other. */
export const timeTravel = (tokens: Readonly<Record<Side, Tokens>>): TimeTravel | null => {
  const strange = sides.filter((side) => {
    const { next, peer } = tokens[opposite(side)]
    const { own } = tokens[side]
    return peer !== null && own !== peer && (own === null || !next.includes(own))
  })
  if (strange.length === 0) return null
  // After a restore neither side knows the other: the one that remembers less went back.
  const [a, b] = [tokens.replit.renewedAtMs ?? -Infinity, tokens.external.renewedAtMs ?? -Infinity]
  const side = strange.length === 1 && a === b ? strange[0]! : a <= b ? "replit" : "external"
  return {
    side,
    remembersUntilMs: tokens[side].renewedAtMs,
    otherRemembersUntilMs: tokens[opposite(side)].renewedAtMs
  }
}
