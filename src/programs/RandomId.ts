/** A random uuid (version 4) from Effect's Random service, so that tests and simulations can drive it. */
import { Effect, Random } from "effect"

export const RandomId = Effect.gen(function*() {
  let digits = ""
  // A digit at a time would be a quarter of what a cycle on memory databases does.
  for (let i = 0; i < 4; i++) digits += (yield* Random.nextIntBetween(0, 2 ** 32)).toString(16).padStart(8, "0")
  const variant = (8 + Number.parseInt(digits[16]!, 16) % 4).toString(16)
  return `${digits.slice(0, 8)}-${digits.slice(8, 12)}-4${digits.slice(13, 16)}-${variant}${digits.slice(17, 20)}-${
    digits.slice(20)
  }`
})
