import { defineConfig } from "vitest/config"

/** Tests that need a PostgreSQL server or the built program. The rest must not: `npx vitest run --project unit` starts none. */
const pg = ["test/pg/**/*.test.ts", "test/process/**/*.test.ts", "test/main.test.ts"]

export default defineConfig({
  test: {
    pool: "forks",
    maxWorkers: 2,
    minWorkers: 1,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    projects: [
      { extends: true, test: { name: "unit", include: ["test/**/*.test.ts"], exclude: pg } },
      // Loading the modules anew for each file takes 2 to 4 s of a core; these tests share nothing but servers anyway.
      { extends: true, test: { name: "pg", include: pg, globalSetup: "test/support/globalSetup.ts", isolate: false } }
    ]
  }
})
