/**
 * A flight: statements that are sent back to back on one connection, the data of a `COPY … FROM STDIN` among them, and
 * answered together: one round trip, however many there are. The first that fails has the server pass over the rest, its
 * COMMIT included, and leaves the connection in step.
 *
 * It speaks the extended protocol with one Sync at the end; by simple queries a server that refused one would go on with the
 * next. Without BEGIN all of it is one transaction. Statements are prepared once a connection and kept by their text.
 */
import type * as Pg from "pg"

export interface Step {
  readonly text: string
  /** Texts of the parameters. */
  readonly values?: ReadonlyArray<string | null>
  /** What a `COPY … FROM STDIN` reads. */
  readonly copy?: Uint8Array
}

export interface StepResult {
  readonly rows: ReadonlyArray<ReadonlyArray<string | null>>
  /** Rows that were written, or read. */
  readonly count: number
  /** What a `COPY … TO STDOUT` wrote, a line each. */
  readonly lines: ReadonlyArray<Uint8Array>
}

/** The server refused a step. */
export interface Refused {
  readonly _tag: "Refused"
  /** Its place, from 0. */
  readonly at: number
  readonly cause: unknown
}

/** The names of what a connection has prepared, by text, the longest kept first. */
export type Prepared = Map<string, string>

/** Flies on a connection that nobody else uses meanwhile. Rejects when the connection is lost. */
export const fly = (
  client: Pg.ClientBase,
  prepared: Prepared,
  steps: ReadonlyArray<Step>
): Promise<ReadonlyArray<StepResult> | Refused> =>
  new Promise((resolve, reject) => {
    client.query(new Flight(prepared, steps, resolve, reject))
  })

/** What node-postgres calls for the query at hand, by the protocol's messages. */
class Flight implements Pg.Submittable {
  private readonly results: Array<
    { rows: Array<ReadonlyArray<string | null>>; lines: Array<Uint8Array>; count: number }
  > = []
  private at = 0
  private readonly parsing: Array<readonly [text: string, name: string]> = []
  private readonly onParsed = () => {
    const [text, name] = this.parsing.shift()!
    this.prepared.set(text, name)
  }
  private connection: Wire | null = null

  private readonly prepared: Prepared
  private readonly steps: ReadonlyArray<Step>
  private readonly resolve: (landed: ReadonlyArray<StepResult> | Refused) => void
  private readonly reject: (cause: unknown) => void

  constructor(
    prepared: Prepared,
    steps: ReadonlyArray<Step>,
    resolve: (landed: ReadonlyArray<StepResult> | Refused) => void,
    reject: (cause: unknown) => void
  ) {
    this.prepared = prepared
    this.steps = steps
    this.resolve = resolve
    this.reject = reject
  }

  submit(connection: unknown): void {
    const wire = connection as Wire
    this.connection = wire
    wire.on("parseComplete", this.onParsed)
    wire.stream.cork()
    const names = new Map<string, string>()
    for (const { copy, text, values } of this.steps) {
      const statement = this.prepared.get(text) ?? names.get(text) ?? `v${++named}`
      if (!this.prepared.has(text) && !names.has(text)) {
        names.set(text, statement)
        this.parsing.push([text, statement])
        wire.parse({ name: statement, text, types: [] })
      }
      wire.bind({ statement, values: values === undefined ? [] : [...values] })
      wire.execute({})
      if (copy !== undefined) {
        wire.sendCopyFromChunk(Buffer.from(copy.buffer, copy.byteOffset, copy.byteLength))
        wire.endCopyFrom()
      }
    }
    for (const [text, name] of [...this.prepared].slice(0, Math.max(0, this.prepared.size + names.size - keptMax))) {
      if (this.steps.some((step) => step.text === text)) continue
      this.prepared.delete(text)
      wire.close({ type: "S", name })
    }
    wire.sync()
    wire.stream.uncork()
  }

  handleRowDescription(): void {}

  handleDataRow({ fields }: { readonly fields: ReadonlyArray<string | null> }): void {
    this.result.rows.push(fields)
  }

  handleCopyData({ chunk }: { readonly chunk: Uint8Array }): void {
    // The parser's buffer is used again: a view of it would be other rows later.
    this.result.lines.push(Uint8Array.from(chunk))
  }

  /** The data are on their way. */
  handleCopyInResponse(): void {}

  handleCommandComplete({ text }: { readonly text: string }): void {
    this.result.count = Number(/\d+$/.exec(text)?.[0] ?? 0)
    this.at++
  }

  handleEmptyQuery(): void {
    this.at++
  }

  handlePortalSuspended(): void {}

  handleError(cause: unknown): void {
    this.end()
    // Only what the server said has a severity: the rest ends the connection.
    const isRefusal = typeof cause === "object" && cause !== null && "severity" in cause && cause.severity !== "FATAL"
    if (isRefusal) this.resolve({ _tag: "Refused", at: this.at, cause })
    else this.reject(cause)
  }

  handleReadyForQuery(): void {
    this.end()
    this.resolve(this.steps.map((_, index) => this.results[index] ?? { rows: [], lines: [], count: 0 }))
  }

  private get result() {
    return this.results[this.at] ??= { rows: [], lines: [], count: 0 }
  }

  private end(): void {
    this.connection?.off("parseComplete", this.onParsed)
  }
}

/** What a flight uses of node-postgres' connection, which has no types. */
interface Wire {
  readonly stream: { readonly cork: () => void; readonly uncork: () => void }
  readonly parse: (query: { name: string; text: string; types: ReadonlyArray<number> }) => void
  readonly bind: (config: { statement: string; values: ReadonlyArray<string | null> }) => void
  readonly execute: (config: object) => void
  readonly close: (what: { type: "S"; name: string }) => void
  readonly sync: () => void
  readonly sendCopyFromChunk: (chunk: Uint8Array) => void
  readonly endCopyFrom: () => void
  readonly on: (event: "parseComplete", listener: () => void) => void
  readonly off: (event: "parseComplete", listener: () => void) => void
}

/** Names are never given again, so that a statement that was to be closed and wasn't is in nobody's way. */
let named = 0
/** Of one connection. A statement takes some 20 kB in the server, and a table ten or so. */
const keptMax = 200
