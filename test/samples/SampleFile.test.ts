import { assert, describe, it } from "@effect/vitest"
import { stepsOf } from "./SampleFile.ts"

describe("stepsOf", () => {
  it("cuts a dump at the ends of its statements, and nowhere else", () => {
    const steps = stepsOf(
      `-- a comment; with a semicolon
      select 'a;''b', E'c\\';d', "e;f"; /* g; h */
      create function f() returns int language sql as $x$ select 1; $x$;
\\connect other;
      ;; select 2`
    )
    assert.deepStrictEqual(steps.map(({ sql }) => sql), [
      `select 'a;''b', E'c\\';d', "e;f"`,
      "create function f() returns int language sql as $x$ select 1; $x$",
      "select 2"
    ])
  })

  it("takes the lines after COPY FROM stdin as they are, to the line that ends them", () => {
    const steps = stepsOf(
      "COPY public.a (b, c) FROM stdin;\n1\tit's; -- \\N\n\\\\.\t2\n\\.\n\n\ncopy d from stdin;\n\\.\nselect 1;\n"
    )
    assert.deepStrictEqual(steps, [
      { sql: "COPY public.a (b, c) FROM stdin", data: "1\tit's; -- \\N\n\\\\.\t2\n" },
      { sql: "copy d from stdin", data: "" },
      { sql: "select 1" }
    ])
  })
})
