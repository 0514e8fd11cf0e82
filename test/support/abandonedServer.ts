/** A program that starts a server, prints its process id and data directory, and waits to be killed. */
import { Console, Effect } from "effect"
import { query } from "./TestClient.ts"
import { freshServer } from "./TestServer.ts"

Effect.runFork(Effect.scoped(Effect.gen(function*() {
  const server = yield* freshServer()
  const [row] = yield* query(server.url(), "select current_setting('data_directory') as data")
  yield* Console.log(JSON.stringify({ ...row, pid: yield* server.pid }))
  yield* Effect.never
})))
