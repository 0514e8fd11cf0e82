/** The gate of the memory form: whether there is anybody who must be told of a change. */
import type { Queue } from "effect"
import type { Transaction } from "./Transaction.ts"

/** A listener that rests holds it closed. Only one keeps it; the others hear what is announced to that one. */
export interface Gate {
  keeper: object | null
  closed: boolean
  /** Open transactions that wrote while it was open, and so announce nothing. */
  readonly silent: Set<Transaction>
  readonly heard: Set<Queue.Enqueue<void>>
}

export const makeGate = (): Gate => ({ keeper: null, closed: false, silent: new Set(), heard: new Set() })

/** Tells all that listen. */
export const announce = ({ heard }: Gate): void => {
  for (const queue of heard) queue.unsafeOffer(undefined)
}
