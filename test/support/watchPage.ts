/**
 * Watches a page in a browser as a typed client would be by its compiler: what it asks for must be in the Api, with exactly
 * that payload, and of an answer it may read only what the Api says is there.
 */
import { HttpApi } from "@effect/platform"
import { Either, Option, Schema, type SchemaAST } from "effect"
import type { BrowserContext } from "playwright-core"
import { Api } from "../../src/http/Api.ts"

export interface Endpoint {
  readonly method: string
  readonly path: string
  readonly payload: Schema.Schema<unknown> | null
}

/** What a page can ask of the Api, but for files. */
export const endpoints: ReadonlyArray<Endpoint> = (() => {
  const found: Array<Endpoint> = []
  HttpApi.reflect(Api, {
    onGroup: () => {},
    onEndpoint: ({ endpoint: { method, path, payloadSchema } }) => {
      const payload = Option.getOrNull(payloadSchema) as Schema.Schema<unknown> | null
      if (path.startsWith("/api/")) found.push({ method, path, payload })
    }
  })
  return found
})()

/** @param complain is told a sentence for each thing that the Api doesn't know. */
export const watchPage = async (context: BrowserContext, complain: (problem: string) => void): Promise<void> => {
  context.on("request", (request) => {
    const { pathname } = new URL(request.url())
    if (!pathname.startsWith("/api/")) return
    const endpoint = endpoints.find(({ method, path }) => path === pathname && method === request.method())
    if (endpoint === undefined) return complain(`The Api has no ${request.method()} ${pathname}.`)
    if (endpoint.payload === null) return
    const read = Schema.decodeUnknownEither(endpoint.payload, { onExcessProperty: "error" })(request.postDataJSON())
    if (Either.isLeft(read)) complain(`${request.method()} ${pathname} takes something else: ${read.left.message}`)
  })
  await context.exposeFunction("notInTheApi", (field: string) => complain(`No answer has ${field}.`))
  await context.addInitScript(watchAnswers, optionalFields)
}

/** Runs in the page: what is parsed complains when a field is read that it hasn't. */
const watchAnswers = (optional: ReadonlyArray<string>) => {
  const { notInTheApi } = globalThis as unknown as { notInTheApi: (field: string) => void }
  const watchers = new WeakMap<object, object>()
  // A promise asks whether its value is one, too.
  const allowed = new Set([...optional, "then", "toJSON"])
  const watched = (value: unknown): unknown => {
    if (typeof value !== "object" || value === null) return value
    const watcher = watchers.get(value) ?? new Proxy(value, {
      get: (target, name) => {
        const isIndex = Array.isArray(target) && typeof name === "string" && /^-?\d+$/.test(name)
        if (typeof name === "string" && !(name in target) && !isIndex && !allowed.has(name)) notInTheApi(name)
        return watched(Reflect.get(target, name))
      }
    })
    watchers.set(value, watcher)
    return watcher
  }
  const { parse } = JSON
  JSON.parse = (...args) => watched(parse(...args))
  const answer = Response.prototype as { json: () => Promise<unknown> }
  const { json } = answer
  answer.json = async function() {
    return watched(await json.call(this))
  }
}

/** Fields that an answer may lack. */
const optionalFields: ReadonlyArray<string> = (() => {
  const found = new Set<string>()
  const look = (ast: SchemaAST.AST): void => {
    if (ast._tag === "Union") ast.types.forEach(look)
    if (ast._tag === "TupleType") { for (const { type } of [...ast.elements, ...ast.rest]) look(type) }
    if (ast._tag !== "TypeLiteral") return
    for (const { isOptional, name, type } of ast.propertySignatures) {
      if (isOptional) found.add(String(name))
      look(type)
    }
  }
  HttpApi.reflect(Api, {
    onGroup: () => {},
    onEndpoint: ({ successes }) => {
      for (const { ast } of successes.values()) {
        if (Option.isSome(ast)) look(Schema.encodedSchema(Schema.make(ast.value)).ast)
      }
    }
  })
  return [...found]
})()
