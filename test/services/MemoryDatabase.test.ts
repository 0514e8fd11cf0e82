import { suite } from "../conformance.ts"
import { memoryPair } from "../conformance/memoryPair.ts"

suite("MemoryDatabase", memoryPair)
