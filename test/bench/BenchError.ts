/** Why there are no figures: a sentence for the person who runs the benchmark. */
import { Data } from "effect"

export class BenchError extends Data.TaggedError("BenchError")<{ readonly message: string }> {}
