/** A random uuid (version 4) from Effect's Random service, so that tests and simulations can drive it. */
import { Effect, Random } from "effect"

export const RandomId = Effect.gen(function*() {
  let digits = ""
  for (let i = 0; i < 32; i++) {
    const nibble = yield* Random.nextIntBetween(0, 16)
    digits += (i === 12 ? 4 : i === 16 ? 8 + nibble % 4 : nibble).toString(16)
  }
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5")
})
