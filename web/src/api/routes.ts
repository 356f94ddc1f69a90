/** Every route that the page uses, by name, with the type of its response. */
import { call, send } from './client.ts'
import type {
  About,
  Accepted,
  Agent,
  AgentDryRun,
  AgentVersionSummary,
  Branch,
  Json,
  JsonObject,
  LedgerRow,
  NewSession,
  OnBusy,
  OrganizationUsage,
  Page,
  Session,
  SessionSummary,
  Step,
  Suite,
  SuiteDefinition,
  SuiteReport,
  SuiteRun,
  SuiteSummary,
  TreeTurn,
  Turn,
  UsageRow,
} from './types.ts'

type Signal = { signal?: AbortSignal }
type Paging = { cursor?: string | null; limit?: number }

export const sessions = {
  list: (query: { status?: string; agent?: string; agent_version?: number; suite?: string; created_after?: string; billed_model?: string; billed_purpose?: string; billed_from?: string; billed_to?: string; zone?: string; q?: string; forked_from?: string; order?: 'newest' | 'updated' } & Paging, more: Signal = {}) =>
    call<Page<SessionSummary>>('GET', '/v1/sessions', { query, ...more }),
  open: (body: NewSession) => call<Session>('POST', '/v1/sessions', { query: { wait: false }, body }),
  get: (session_id: string, more: Signal = {}) =>
    call<Session>('GET', '/v1/sessions/{session_id}', { path: { session_id }, ...more }),
  erase: (session_id: string) => call<void>('DELETE', '/v1/sessions/{session_id}', { path: { session_id } }),
  turns: (session_id: string, query: Paging & { around?: string }, more: Signal = {}) =>
    call<Page<Turn>>('GET', '/v1/sessions/{session_id}/turns', { path: { session_id }, query, ...more }),
  branches: (session_id: string, query: Paging = {}, more: Signal = {}) =>
    call<Page<Branch>>('GET', '/v1/sessions/{session_id}/branches', { path: { session_id }, query, ...more }),
  tree: (session_id: string, query: { q?: string } & Paging = {}, more: Signal = {}) =>
    call<Page<TreeTurn>>('GET', '/v1/sessions/{session_id}/tree', { path: { session_id }, query, ...more }),
  steps: (session_id: string, turn_id: string, more: Signal = {}) =>
    call<Page<Step>>('GET', '/v1/sessions/{session_id}/turns/{turn_id}/steps', { path: { session_id, turn_id }, ...more }),
  sendMessage: (session_id: string, body: { text: string; message_id: string; on_busy: OnBusy; expected_revision?: number; client_tools?: readonly string[] }) =>
    call<Accepted>('POST', '/v1/sessions/{session_id}/messages', { path: { session_id }, query: { wait: false }, body }),
  rewind: (session_id: string, body: { turn_id: string | null; before?: boolean; expected_revision?: number }) =>
    call<Session>('POST', '/v1/sessions/{session_id}/rewind', { path: { session_id }, body }),
  edit: (session_id: string, turn_id: string, body: { text: string; message_id: string; expected_revision?: number; client_tools?: readonly string[] }) =>
    call<Accepted>('POST', '/v1/sessions/{session_id}/turns/{turn_id}/edit', {
      path: { session_id, turn_id },
      query: { wait: false },
      body,
    }),
  regenerate: (session_id: string, turn_id: string, body: { message_id: string; expected_revision?: number }) =>
    call<Accepted>('POST', '/v1/sessions/{session_id}/turns/{turn_id}/regenerate', {
      path: { session_id, turn_id },
      query: { wait: false },
      body,
    }),
  cancel: (session_id: string) => call<Session>('POST', '/v1/sessions/{session_id}/cancel', { path: { session_id }, body: {} }),
  restore: (session_id: string, branch_id: string, body: { expected_revision?: number }) =>
    call<Session>('POST', '/v1/sessions/{session_id}/branches/{branch_id}/restore', { path: { session_id, branch_id }, body }),
  fork: (
    session_id: string,
    body: { turn_id?: string; agent?: string | { id: string; version?: number }; model?: string; name?: string },
  ) => call<Session>('POST', '/v1/sessions/{session_id}/fork', { path: { session_id }, body }),
  end: (session_id: string, reason?: string) =>
    call<Session>('POST', '/v1/sessions/{session_id}/end', { path: { session_id }, body: reason ? { reason } : {} }),
  decide: (session_id: string, call_id: string, decision: 'approve' | 'deny', reason?: string) =>
    call<Session>('POST', '/v1/sessions/{session_id}/approvals/{call_id}/{decision}', {
      path: { session_id, call_id, decision },
      body: reason ? { reason } : {},
    }),
  returnResult: (session_id: string, call_id: string, body: { result: Json; is_error: boolean }) =>
    call<Session>('POST', '/v1/sessions/{session_id}/client-calls/{call_id}/result', { path: { session_id, call_id }, body }),
  simulate: (session_id: string, body: { enabled: boolean; config?: JsonObject; expected_revision?: number }) =>
    call<Session>('PUT', '/v1/sessions/{session_id}/simulator', { path: { session_id }, body }),
  transcript: (session_id: string, format: 'text' | 'markdown' | 'json' | 'jsonl', more: Signal = {}) =>
    send('GET', '/v1/sessions/{session_id}/transcript', { path: { session_id }, query: { format }, ...more }),
}

export const agents = {
  list: (query: Paging = {}, more: Signal = {}) => call<Page<Agent>>('GET', '/v1/agents', { query, ...more }),
  get: (agent_id: string, more: Signal = {}) => call<Agent>('GET', '/v1/agents/{agent_id}', { path: { agent_id }, ...more }),
  version: (agent_id: string, version: number, more: Signal = {}) =>
    call<Agent>('GET', '/v1/agents/{agent_id}/versions/{version}', { path: { agent_id, version }, ...more }),
  versions: (agent_id: string, more: Signal = {}) =>
    call<Page<AgentVersionSummary>>('GET', '/v1/agents/{agent_id}/versions', { path: { agent_id }, ...more }),
  store: (content: string, type: string, query: { format?: string; name?: string } = {}) =>
    call<Agent>('POST', '/v1/agents', { query, text: { content, type } }),
  /** Call it only where `/v1/about` exists: an older API would ignore `dry_run` and store the agent. */
  dryRun: (content: string, type: string, query: { format?: string; name?: string } = {}, more: Signal = {}) =>
    call<AgentDryRun>('POST', '/v1/agents', { query: { ...query, dry_run: true }, text: { content, type }, ...more }),
}

export const suites = {
  list: (query: { agent?: string; agent_version?: number } & Paging = {}, more: Signal = {}) => call<Page<SuiteSummary>>('GET', '/v1/suites', { query, ...more }),
  get: (suite_id: string, more: Signal = {}) => call<Suite>('GET', '/v1/suites/{suite_id}', { path: { suite_id }, ...more }),
  start: (
    content: string,
    type: string,
    query: { repeats?: number; concurrency?: number; budget_usd?: string; seed?: number } = {},
    key?: string,
  ) =>
    call<Suite>('POST', '/v1/suites', {
      query,
      text: { content, type },
      ...(key && { headers: { 'idempotency-key': key } }),
    }),
  command: (suite_id: string, command: 'pause' | 'resume' | 'cancel') =>
    call<Suite>('POST', '/v1/suites/{suite_id}/{command}', { path: { suite_id, command } }),
  runs: (suite_id: string, query: { updated_after?: string; scenario?: string } & Paging = {}, more: Signal = {}) =>
    call<Page<SuiteRun>>('GET', '/v1/suites/{suite_id}/runs', { path: { suite_id }, query, ...more }),
  definition: (suite_id: string, more: Signal = {}) =>
    call<SuiteDefinition>('GET', '/v1/suites/{suite_id}/definition', { path: { suite_id }, ...more }),
  report: (suite_id: string, query: { transcripts?: boolean; baseline?: string } = {}, more: Signal = {}) =>
    call<SuiteReport>('GET', '/v1/suites/{suite_id}/report', { path: { suite_id }, query: { format: 'json', ...query }, ...more }),
  exported: (suite_id: string, format: 'json' | 'junit' | 'html') =>
    send('GET', '/v1/suites/{suite_id}/report', { path: { suite_id }, query: { format } }),
}

export const usage = {
  total: (query: { from?: string; to?: string; by?: readonly string[]; zone?: string } = {}, more: Signal = {}) =>
    call<OrganizationUsage & { rows?: UsageRow[] }>('GET', '/v1/usage', { query, ...more }),
  ledger: (query: { session?: string } & Paging = {}, more: Signal = {}) =>
    call<Page<LedgerRow>>('GET', '/v1/usage/ledger', { query, ...more }),
}

export const about = (more: Signal = {}) => call<About>('GET', '/v1/about', more)

/** All items of a list, page by page, at most `most`. */
export async function all<Item>(page: (cursor: string | null) => Promise<Page<Item>>, most = 10_000): Promise<Item[]> {
  const items: Item[] = []
  let cursor: string | null = null
  do {
    const { items: more, next_cursor }: Page<Item> = await page(cursor)
    items.push(...more)
    cursor = next_cursor
  } while (cursor !== null && items.length < most)
  return items
}
