/** Why a sample could not be tried at all: a sentence for the person who runs it. */
import { Data } from "effect"

export class SampleError extends Data.TaggedError("SampleError")<{ readonly message: string }> {}
