/** What the commands know of the process that runs them. Only main.ts can tell. */
import { Context } from "effect"

export class Host extends Context.Tag("vaivem/cli/Host")<Host, {
  /** As in package.json. */
  readonly version: string
  /** Which of the streams are a person's terminal. */
  readonly isTerminal: { readonly stdin: boolean; readonly stdout: boolean; readonly stderr: boolean }
  /** Standard error, for what is no line of its own. */
  readonly terminal: { readonly write: (text: string) => void; readonly columns: () => number }
}>() {}
