/** Calls the API: adds the key, throws problems, and reuses responses that have not changed. */
import { create } from 'zustand'
import type { paths } from './schema.ts'
import { problemOf, unreachable } from './problems.ts'

export type Path = keyof paths
export type Method = 'GET' | 'POST' | 'PUT' | 'DELETE'
type Value = string | number | boolean | null | undefined

export interface Call {
  path?: Record<string, string | number>
  query?: Record<string, Value | readonly string[]>
  body?: unknown
  /** A body that is sent as it is, with its content type. */
  text?: { content: string; type: string }
  headers?: Record<string, string>
  signal?: AbortSignal
}

const STORED = 'playhead.key'

/** Where a key is kept: for this tab, or, when that was chosen, for this browser. Never in a URL. */
function storedKey(): string | null {
  try {
    return sessionStorage.getItem(STORED) ?? localStorage.getItem(STORED)
  } catch {
    return null
  }
}

interface Auth {
  key: string | null
  /** The API returned 401: the key is missing or not valid. */
  keyRequired: boolean
  enter(key: string, remember: boolean): void
  forget(): void
}

export const useAuth = create<Auth>()((set) => ({
  key: typeof sessionStorage === 'undefined' ? null : storedKey(),
  keyRequired: false,
  enter: (key, remember) => {
    sessionStorage.setItem(STORED, key)
    if (remember) localStorage.setItem(STORED, key)
    set({ key, keyRequired: false })
  },
  forget: () => {
    sessionStorage.removeItem(STORED)
    localStorage.removeItem(STORED)
    set({ key: null })
  },
}))

export function urlOf(path: Path, call: Call = {}): string {
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(String(call.path?.[name] ?? '')))
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(call.query ?? {})) {
    if (Array.isArray(value)) for (const each of value as readonly string[]) query.append(name, each)
    else if (value !== undefined && value !== null && value !== '') query.set(name, String(value))
  }
  return query.size > 0 ? `${filled}?${query.toString()}` : filled
}

export function authorization(): Record<string, string> {
  const { key } = useAuth.getState()
  return key ? { authorization: `Bearer ${key}` } : {}
}

/** The response as it is; throws a `Problem` for everything but a success or 304. */
export async function send(method: Method, path: Path, call: Call = {}): Promise<Response> {
  const headers: Record<string, string> = { ...authorization(), ...call.headers }
  if (call.body !== undefined) headers['content-type'] = 'application/json'
  if (call.text) headers['content-type'] = call.text.type
  let response: Response
  try {
    response = await fetch(urlOf(path, call), {
      method,
      headers,
      body: call.text ? call.text.content : call.body === undefined ? null : JSON.stringify(call.body),
      signal: call.signal ?? null,
    })
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error
    throw unreachable(error)
  }
  if (response.ok || response.status === 304) return response
  const problem = await problemOf(response)
  if (problem.status === 401) useAuth.setState({ keyRequired: true })
  throw problem
}

/** Responses with an entity tag, by key and URL, the newest last: a response that has not changed is sent once. */
const known = new Map<string, { tag: string; body: unknown }>()
const MAX_KNOWN = 40

/** The JSON of the response. The callers in routes.ts name its type. */
export async function call<Form>(method: Method, path: Path, options: Call = {}): Promise<Form> {
  const place = method === 'GET' ? `${useAuth.getState().key ?? ''} ${urlOf(path, options)}` : null
  const before = place === null ? undefined : known.get(place)
  const response = await send(method, path, before ? { ...options, headers: { ...options.headers, 'if-none-match': before.tag } } : options)
  if (response.status === 204) return undefined as Form
  if (response.status === 304 && before) return before.body as Form
  const body = (await response.json()) as Form
  const tag = response.headers.get('etag')
  if (place !== null && tag) {
    known.delete(place)
    known.set(place, { tag, body })
    for (const oldest of known.keys()) {
      if (known.size <= MAX_KNOWN) break
      known.delete(oldest)
    }
  }
  return body
}

/** The same call as a command line, without the key. */
export function curl(method: Method, path: Path, options: Call = {}): string {
  const quoted = (text: string): string => `'${text.replaceAll("'", String.raw`'\''`)}'`
  const origin = typeof location === 'undefined' ? '' : location.origin
  const parts = ['curl -s', ...(method === 'GET' ? [] : [`-X ${method}`]), quoted(origin + urlOf(path, options))]
  if (useAuth.getState().key) parts.push('-H "Authorization: Bearer $PLAYHEAD_API_KEY"')
  if (options.body !== undefined) parts.push(`-H 'content-type: application/json' -d ${quoted(JSON.stringify(options.body))}`)
  return parts.join(' ')
}
