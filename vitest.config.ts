import { defineConfig } from "vitest/config"
import { BaseSequencer, type TestSpecification } from "vitest/node"

/** Tests that need a PostgreSQL server or the built program. The rest must not: `npx vitest run --project unit` starts none. */
const pg = ["test/pg/**/*.test.ts", "test/process/**/*.test.ts", "test/main.test.ts"]
/** What takes minutes, and is not part of `npm test`: `npm run test:timestamp`. */
const timestamp = ["test/timestamp/**/*.test.ts"]

/** The longest first, or one of the two workers ends up alone with them. */
class LongestFirst extends BaseSequencer {
  override async sort(files: Array<TestSpecification>): Promise<Array<TestSpecification>> {
    const place = ({ moduleId }: TestSpecification) => {
      const found = longest.findIndex((name) => moduleId.endsWith(name))
      return found < 0 ? longest.length : found
    }
    return (await super.sort(files)).toSorted((a, b) => place(a) - place(b))
  }
}

const longest = [
  "test/main.test.ts",
  "test/pg/PgDatabase.test.ts",
  "test/simulation/simulation.test.ts",
  "test/simulation/others.test.ts",
  "test/pg/writingMeanwhile.test.ts",
  "test/process/copy.test.ts",
  "test/process/timeTravel.test.ts",
  "test/process/oldScript.test.ts",
  "test/pg/refusals.test.ts",
  "test/pg/ids.test.ts"
]

export default defineConfig({
  test: {
    pool: "forks",
    // Loading the modules anew for each file takes 1.2 s of a core, of a hundred files two minutes; nothing is shared by them. The pool
    // looks at this setting alone, and not at a project's `isolate`.
    poolOptions: { forks: { isolate: false } },
    // More than there are cores: tests of servers wait for locks, time-outs and programs that start.
    maxWorkers: 3,
    // As many: a worker that is ended for being idle, while the pool changes its workers, fails the whole run.
    minWorkers: 3,
    // For a busy machine, on which starting the program or a browser takes seconds. For all, because `vi.setConfig` does nothing in
    // a worker's second file.
    testTimeout: 120_000,
    hookTimeout: 60_000,
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        extends: true,
        test: { name: "unit", include: ["test/**/*.test.ts"], exclude: [...pg, ...timestamp], isolate: false }
      },
      { extends: true, test: { name: "pg", include: pg, globalSetup: "test/support/globalSetup.ts", isolate: false } },
      {
        extends: true,
        test: { name: "timestamp", include: timestamp, globalSetup: "test/support/globalSetup.ts", isolate: false }
      }
    ]
  }
})
