/** How `--help` ends: what the exit codes mean, and how the command is called that was asked about. */
import { HelpDoc } from "@effect/cli"

/** @param args what stands behind the program's name. */
export const footerFor = (args: ReadonlyArray<string>): HelpDoc.HelpDoc =>
  HelpDoc.blocks([
    HelpDoc.h1("EXIT CODES"),
    HelpDoc.p([
      "0  done, or stopped by a signal",
      "1  the world said no, after retries: unreachable, wrong password, lease not free",
      "2  something must be changed first: an option, a setting, a table",
      "3  done, but something waits for a person: quarantine, a paused or held table, differences"
    ].join("\n")),
    HelpDoc.h1("EXAMPLES"),
    HelpDoc.p((examples[commandIn(args)] ?? []).map((line) => `vaivem ${line}`.trim()).join("\n"))
  ])

/** By command; the whole program's are under "". */
export const examples: Readonly<Record<string, ReadonlyArray<string>>> = {
  "": [
    "",
    "--once",
    "check",
    "plan --read-only",
    "setup --create-missing",
    "status --watch",
    "status --help",
    "--completions bash"
  ],
  setup: ["setup --create-missing", "setup --prefer replit --missing keep", "setup --split-ids"],
  adopt: ["adopt", "adopt --folder ../meu-app"],
  check: ["check", "check --json", "check --notify"],
  doctor: ["doctor", "doctor --fix"],
  plan: ["plan", "plan --read-only --show 20"],
  status: ["status --watch --every 10s", "status --json"],
  logs: ["logs --limit 50", "logs --json"],
  verify: ["verify", "verify --repair --dry-run"],
  conflicts: ["conflicts", "conflicts show 3f2a"],
  "conflicts list": ["conflicts list --table perfis --limit 10", "conflicts list --undecided"],
  "conflicts show": ["conflicts show 3f2a"],
  "conflicts restore": ["conflicts restore 3f2a"],
  "conflicts keep": ["conflicts keep 3f2a"],
  quarantine: ["quarantine", "quarantine discard 91c0"],
  "quarantine list": ["quarantine list --table perfis"],
  "quarantine retry": ["quarantine retry", "quarantine retry 91c0"],
  "quarantine discard": ["quarantine discard 91c0"],
  approve: ["approve perfis"],
  reject: ["reject perfis"],
  pause: ["pause perfis", "pause"],
  resume: ["resume perfis", "resume"],
  sync: ["sync perfis"],
  probe: ["probe --from replit", "probe --from external --table perfis"],
  teardown: ["teardown", "teardown --table perfis --yes"],
  demo: ["demo"]
}

/** The longest one that is named. */
const commandIn = (args: ReadonlyArray<string>): string =>
  Object.keys(examples).filter((name) => ` ${args.join(" ")} `.includes(` ${name} `))
    .reduce((longest, name) => name.length > longest.length ? name : longest, "")
