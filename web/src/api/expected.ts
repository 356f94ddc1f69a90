/**
 * What the page asks of the API beyond `openapi.json`: exactly these forms, and what the page does without them.
 *
 * Conventions as everywhere: times RFC 3339 UTC, money decimals in strings, lists `{items, next_cursor}`. Where a route
 * answers 404, 405 or 422 the page takes it as "not there yet" and shows the view without it. When a form has arrived in
 * `openapi.json`, its type here becomes an alias of the generated one.
 */
import type { components } from './schema.ts'
import type { Cost, Json, JsonObject } from './types.ts'

type Forms = components['schemas']

/** Members added to `usage` of a turn (`TurnUsage`). Without them the page shows the time of the whole reply only. */
export interface UsageExtras {
  /** Seconds from the message to the first word that the agent said; null for turns without words. */
  first_word_seconds?: number | null
}

/** Members of a branch that events do not tell. Without them the page counts what it has loaded and says "at least". */
export type BranchExtras = Partial<Pick<components['schemas']['Branch'], 'turn_count' | 'cost' | 'head_turn_id'>>

/** Members of a session that an older API does not tell. Without them the page leaves the figures out. */
export interface SessionExtras {
  /** The agent's name; else the page asks for the list of agents. */
  agent_name?: string
  /** Turns of the visible branch. */
  turn_count?: number
  /** The suite that the session belongs to. */
  suite_id?: string | null
}

/**
 * Data of the last durable event of each record, and of those that concern the session. Without `revision` the page reads
 * the session again after a durable event to learn it.
 */
export interface EventExtras {
  revision?: number
}

/** `approval_requested`, durable. Without it the page reads `approvals` of the session while a tool call is open. */
export interface ApprovalRequested {
  turn_id: string
  created_at: string
  call_id: string
  tool: string
  arguments: JsonObject
  reason: string
  expires_at: string
}

/**
 * `GET /v1/sessions/{session_id}/turns/{turn_id}/steps` -> `{items: Step[], next_cursor: null}`, oldest first.
 * Without it "Why" shows what the agent's definition and the turn's events tell.
 */
export interface Step {
  /** 0 for the first model call of the turn. */
  index: number
  /** `turn` calls answer the caller; `extraction` calls read variables. */
  purpose: 'turn' | 'extraction'
  model: string
  node_id: string | null
  request: StepRequest
  /** `exact`: the request equals what was sent, by its digest. `rebuilt`: made again from what is stored. */
  fidelity: 'exact' | 'rebuilt'
  /** SHA-256 of the request as sent, in hex; null where none was kept. */
  digest: string | null
  reply: StepReply | null
  usage: StepUsage
  cost: Cost
  started_at: string
  first_word_seconds: number | null
  seconds: number
  finish_reason: string | null
  /** Times that the call was made, the successful one included. */
  attempts: number
  error: string | null
}

/** Tokens of one model call. */
export type StepUsage = Forms['StepUsage']

export interface StepRequest {
  /** The system prompt as sent, variables filled in. */
  instructions: string
  /**
   * Every place of `instructions` that came from a `{{variable}}`: offsets in UTF-16 code units, the name, and where its
   * value came from.
   */
  variables: {
    start: number
    end: number
    name: string
    source: 'initial_context' | 'gathered_context' | 'agent_default' | 'fallback' | 'pre_call_fetch' | 'built_in'
  }[]
  messages: StepMessage[]
  tools: StepTool[]
  settings: JsonObject
}

export interface StepMessage {
  role: 'user' | 'assistant' | 'tool' | 'system'
  content: string
  /** The turn that the message belongs to, where it belongs to one. */
  turn_id: string | null
  /** True unless an earlier step of the session had the message. */
  is_new?: boolean
  tool_calls?: { id: string; name: string; arguments: JsonObject }[]
  tool_call_id?: string | null
}

export interface StepTool {
  name: string
  kind: 'tool' | 'transition'
  description: string
  parameters: JsonObject
  /** Where a transition leads. */
  to: string | null
}

export interface StepReply {
  text: string
  tool_calls: { id: string; name: string; arguments: JsonObject }[]
  /** The reply as the provider gave it, where it was kept. */
  raw: Json
}

/** A turn of the tree, in the order in which they were opened; `branch` is `active`, `hidden` or the id of a discarded one. */
export type TreeTurn = Forms['TreeTurn']

/**
 * `GET /v1/sessions/{session_id}/turns?around={turn_id}&limit=` -> the turn's own branch around it, oldest first;
 * `next_cursor` leads back in time. The page does not ask for it yet: it pages back by 200 until the turn is there
 * (2,000 turns: ten requests), so that what it shows has no hole.
 */
export interface TurnsAround {
  around: string
  limit?: number
}

/** `GET /v1/sessions?q=&forked_from=&order=newest|updated`: `q` is found in name, id, tags and initial context. */
export type SessionSearch = {
  q?: string
  forked_from?: string
  order?: 'newest' | 'updated'
}

/** A run of a suite without its turns, by `(scenario, repeat)`; with `updated_after` by `updated_at`. */
export type SuiteRun = Forms['SuiteRun']

/** `GET /v1/suites/{suite_id}/definition` -> the suite's file as JSON (`SuiteDefinition`), for "replay from here". */
export interface SuiteDefinition {
  name: string
  agent: string
  model?: string | null
  caller_model?: string | null
  judge_model?: string | null
  concurrency?: number
  budget_usd?: string | null
  repeats?: number
  seed?: number
  min_pass_rate?: number
  scenarios: ScenarioDefinition[]
}

export interface ScenarioDefinition {
  id: string
  goal: string
  persona?: JsonObject
  facts?: JsonObject
  opening?: string | null
  history?: { session: string; turn?: string | null } | null
  context?: JsonObject
  success?: string[]
  checks?: JsonObject
  mocks?: Json[]
  limits?: JsonObject
  repeats?: number | null
  tags?: string[]
  min_turns?: number
  caller_model?: string | null
  judge_model?: string | null
}

/**
 * `GET /v1/suites/{suite_id}/events` is not asked for: while a suite goes on, the page asks `runs?updated_after=` every 2 s,
 * which takes none of the browser's four places for streams.
 */

/** Usage of a day in `zone`, of an agent, a model or a purpose, as `by` divides it. */
export type UsageRow = Forms['UsageRow']

/** `POST /v1/agents?dry_run=true` -> 200 with this, or 400 `invalid_agent`. Nothing is stored. */
export interface AgentDryRun {
  name: string
  /** The version that storing it would make; the newest one when nothing changed. */
  version: number
  changed: boolean
  warnings: string[]
  definition: JsonObject
}

/** A version in the list of an agent, newest first. */
export type AgentVersionSummary = Forms['AgentVersionSummary']

/** `GET /v1/about`. Without it the page shows no quota, and does not dry-run agents. */
export type About = Forms['About']
