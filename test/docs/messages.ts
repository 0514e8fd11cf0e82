/**
 * What the program says when something is refused, read out of its source: messages of the errors of `src/domain/SyncError.ts`, rules
 * of `ConnectionRefusals.ts`, and sentences that are called problems until one of these is made of them. What is put in while it runs is
 * `…`. Constants and functions that hold a text are followed by name, so that a new one is found wherever it is made.
 */
import * as Fs from "node:fs"
import * as Path from "node:path"
import ts from "typescript"

export interface Message {
  /** Where it is made, as `src/programs/cycle.ts`. */
  readonly path: string
  /** The code that makes it, on one line. */
  readonly code: string
  /** What it may say; texts that may be put in follow, a line each. Empty when that can't be read out of the source. */
  readonly texts: ReadonlyArray<string>
}

/** All that is looked for on the pages. */
export interface Said {
  readonly messages: ReadonlyArray<Message>
  /** Codes for which there is a rule, by themselves or as a class. */
  readonly sqlStates: ReadonlyArray<string>
  /** What the log says at the levels that are always shown, but for sentences that are made elsewhere. */
  readonly events: ReadonlyArray<string>
}

/** @param root the project's. The memory form of the databases is left out: it runs in tests only. */
export const saidBySource = (root: string): Said => {
  const files = Fs.readdirSync(Path.join(root, "src"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && !/^services\/memory\/|^programs\/demo\.ts$/.test(name))
    .map((name) => {
      const path = Path.join("src", name)
      return ts.createSourceFile(path, Fs.readFileSync(Path.join(root, path), "utf8"), ts.ScriptTarget.Latest, true)
    })
  const known = new Map(files.flatMap((file) => constants(file.statements)))
  return {
    messages: files.flatMap((file) => messagesOf(file, known)),
    sqlStates: codesOf(known),
    events: files.flatMap((file) => eventsOf(file, known))
  }
}

const messagesOf = (file: ts.SourceFile, known: Known): ReadonlyArray<Message> =>
  nodesOf(file).flatMap((node) => {
    const said = saidBy(node)
    if (said === undefined) return []
    const texts = textsOf(said, known).map((text) => pieces(text).join("\n")).filter(isSentence)
    return [{ path: file.fileName, code: said.getText().replace(/\s+/g, " "), texts }]
  })

const eventsOf = (file: ts.SourceFile, known: Known): ReadonlyArray<string> =>
  nodesOf(file).flatMap((node) =>
    ts.isCallExpression(node) && /^Effect\.log(Error|Warning|Info)$/.test(node.expression.getText())
      ? textsOf(node.arguments[0]!, known).map(({ whole }) => whole)
      : []
  )

/** The keys of `states`. */
const codesOf = (known: Known): ReadonlyArray<string> => {
  const states = known.get("states")
  return states === undefined || !ts.isObjectLiteralExpression(states) ? [] : states.properties.flatMap(({ name }) => {
    const code = name !== undefined && ts.isComputedPropertyName(name) ? known.get(name.expression.getText()) : name
    return code !== undefined && ts.isStringLiteralLike(code) ? [code.text] : []
  })
}

const isError = (name: string): boolean =>
  /^(Unavailable|Contended|RowRefused|WorldRefused|LeaseTaken|ActionNeeded|SchemaDrifted|EmbeddedPostgresError)$/.test(
    name
  )

/** The expression that says it, if this node is where a refusal is made. */
const saidBy = (node: ts.Node): ts.Expression | undefined => {
  if (ts.isNewExpression(node) && isError(node.expression.getText())) {
    return node.arguments?.[0] === undefined ? undefined : propertyOf(node.arguments[0], "message")
  }
  if (ts.isObjectLiteralExpression(node)) {
    const isRule = [...node.properties].some(({ name }) => name?.getText() === "verdict")
    return propertyOf(node, isRule ? "message" : "problem")
  }
  // A setting or an argument that can't be read.
  if (
    ts.isCallExpression(node) &&
    /^Either\.(left|mapLeft|fromNullable|fromOption|filterOrLeft)$/.test(node.expression.getText())
  ) {
    return node.arguments.at(-1)
  }
  return undefined
}

const propertyOf = (object: ts.Node, name: string): ts.Expression | undefined => {
  if (!ts.isObjectLiteralExpression(object)) return undefined
  for (const property of object.properties) {
    if (property.name?.getText() !== name) continue
    if (ts.isPropertyAssignment(property)) return property.initializer
    if (ts.isShorthandPropertyAssignment(property)) return property.name
  }
  return undefined
}

type Known = ReadonlyMap<string, ts.Expression>

const constants = (statements: Iterable<ts.Statement>): ReadonlyArray<readonly [string, ts.Expression]> =>
  [...statements].filter(ts.isVariableStatement).flatMap(({ declarationList }) =>
    declarationList.declarations.flatMap(({ initializer, name }) =>
      ts.isIdentifier(name) && initializer !== undefined ? [[name.text, initializer] as const] : []
    )
  )

/** One way in which an expression may come out. */
interface Text {
  readonly whole: string
  /** Texts that may be put into it, in the places of `…`. */
  readonly within: ReadonlyArray<string>
}

/** Every way in which an expression may come out, as far as it is written down. */
const textsOf = (node: ts.Node, known: Known, depth = 0): ReadonlyArray<Text> => {
  const of = (inner: ts.Node | undefined) => inner === undefined || depth > 12 ? [] : textsOf(inner, known, depth + 1)
  if (ts.isStringLiteralLike(node)) return [{ whole: node.text, within: [] }]
  if (ts.isTemplateExpression(node)) {
    const whole = node.head.text + node.templateSpans.map(({ literal }) => `…${literal.text}`).join("")
    return [{ whole, within: node.templateSpans.flatMap(({ expression }) => of(expression)).flatMap(pieces) }]
  }
  if (ts.isBinaryExpression(node)) {
    const [left, right] = [of(node.left), of(node.right)]
    if (node.operatorToken.kind !== ts.SyntaxKind.PlusToken) return [...left, ...right]
    const whole = (left[0]?.whole ?? "…") + (right[0]?.whole ?? "…")
    return [{ whole, within: [...left, ...right].flatMap(({ within }) => within) }]
  }
  if (ts.isConditionalExpression(node)) return [...of(node.whenTrue), ...of(node.whenFalse)]
  if (ts.isArrowFunction(node)) return ts.isBlock(node.body) ? returned(node.body).flatMap(of) : of(node.body)
  if (ts.isCallExpression(node)) {
    // `lines.join("\n")` says what its lines say, and `map((it) => …)` what it makes of each.
    return ts.isPropertyAccessExpression(node.expression)
      ? [...of(node.expression.expression), ...node.arguments.filter(ts.isArrowFunction).flatMap(of)]
      : of(node.expression)
  }
  if (ts.isParenthesizedExpression(node) || ts.isNonNullExpression(node) || ts.isYieldExpression(node)) {
    return of(node.expression)
  }
  if (ts.isSpreadElement(node)) return of(node.expression)
  if (ts.isArrayLiteralExpression(node)) return node.elements.flatMap(of)
  return ts.isIdentifier(node) ? of(meaningOf(node, known)) : []
}

const pieces = ({ whole, within }: Text): ReadonlyArray<string> => [whole, ...within]

/** What a name stands for where it is used: nothing that is written down, if it is a parameter. */
const meaningOf = (name: ts.Identifier, known: Known): ts.Expression | undefined => {
  for (let scope: ts.Node = name.parent; !ts.isSourceFile(scope); scope = scope.parent) {
    if (ts.isFunctionLike(scope) && scope.parameters.some((it) => nodesOf(it.name).some(isNamed(name)))) {
      return undefined
    }
    if (!ts.isBlock(scope)) continue
    const here = new Map(constants(scope.statements)).get(name.text)
    if (here !== undefined) return here
  }
  return new Map(constants(name.getSourceFile().statements)).get(name.text) ?? known.get(name.text)
}

const isNamed = (name: ts.Identifier) => (node: ts.Node) => ts.isIdentifier(node) && node.text === name.text

const returned = (body: ts.Block) =>
  nodesOf(body).filter(ts.isReturnStatement).flatMap(({ expression }) => expression === undefined ? [] : [expression])

/** More than a word, and than what is put into it. */
const isSentence = (text: string): boolean => / /.test(text) && /[a-z]{3}/.test(text)

const nodesOf = (root: ts.Node): ReadonlyArray<ts.Node> => {
  const nodes: Array<ts.Node> = []
  const visit = (node: ts.Node): void => {
    nodes.push(node)
    ts.forEachChild(node, visit)
  }
  visit(root)
  return nodes
}
