/**
 * The timeline of a session as a function of its events.
 *
 * The rules are the server's (docs/timeline.md): a started turn takes the place of what came after its parent, a rewind
 * moves the cursor, a restored branch becomes the active one. Every event may come twice or repeat what a snapshot
 * already shows; the outcome is the same.
 */
import type { Branch, Json, JsonObject, Session, SessionSummary, Turn, TurnEvent } from '../api/types.ts'

export interface StreamEvent {
  /** The sequence number; null for events that are only streamed. */
  seq: number | null
  type: string
  data: JsonObject
}

export interface Discarded {
  id: string
  leaf: string
  from: string | null
  at: string
}

export type SessionHead = SessionSummary & { turns_before: number }

export interface Timeline {
  session: SessionHead | null
  turns: ReadonlyMap<string, Turn>
  /** The newest turn of the active branch, hidden ones included. */
  leaf: string | null
  /** Set while the session is rewound; `turnId` is null before the first turn. */
  cursor: { turnId: string | null } | null
  discarded: readonly Discarded[]
  /** The last sequence number that was applied. */
  seq: number
  /** The sequence number at which the session's `revision` was read; events since then have raised it. */
  revisionAt: number
  /** The visible turns, oldest first, beginning with the oldest that is loaded. */
  visible: readonly string[]
  /** The turns that a rewind hides, oldest first. */
  hidden: readonly string[]
  /** False when a rewind hides turns that this page has never seen. */
  hiddenKnown: boolean
  /** The text so far of pending replies, by turn. */
  replies: ReadonlyMap<string, string>
  ended: boolean
}

export const EMPTY: Timeline = {
  session: null,
  turns: new Map(),
  leaf: null,
  cursor: null,
  discarded: [],
  seq: 0,
  revisionAt: 0,
  visible: [],
  hidden: [],
  hiddenKnown: true,
  replies: new Map(),
  ended: false,
}

const NO_USAGE: Turn['usage'] = { llm: {}, duration_seconds: 0, model_seconds: 0 }
const NO_COST: Turn['cost'] = { currency: 'USD', total: '0', breakdown: {}, unpriced_models: [] }

/** Events that are stored in the turn they belong to. */
const TURN_EVENTS = new Set([
  'tool_call_started',
  'tool_call_result',
  'node_transition',
  'variables_extracted',
  'execution_error',
  'command_refused',
  'session_end',
  'recording_referenced',
  'approval_requested',
])

const text = (value: Json | undefined): string => (typeof value === 'string' ? value : '')
const id = (value: Json | undefined): string | null => (typeof value === 'string' ? value : null)

/** From the root, or from the oldest turn that is known, to the given one. */
export function pathTo(turns: ReadonlyMap<string, { parent_id: string | null }>, leaf: string | null): string[] {
  const path: string[] = []
  let at = leaf
  while (at !== null && turns.has(at)) {
    path.push(at)
    at = turns.get(at)?.parent_id ?? null
  }
  return path.reverse()
}

/** The turns of a discarded branch: those after the turn that it was discarded from. */
export function turnsOf(turns: ReadonlyMap<string, { parent_id: string | null }>, branch: Discarded): string[] {
  const path = pathTo(turns, branch.leaf)
  return branch.from === null ? path : path.slice(path.indexOf(branch.from) + 1)
}

/** Computes the visible and hidden turns again, after leaf, cursor or turns have changed. */
function placed(timeline: Timeline): Timeline {
  const path = pathTo(timeline.turns, timeline.leaf)
  if (!timeline.cursor) return { ...timeline, visible: path, hidden: [], hiddenKnown: true }
  const at = timeline.cursor.turnId === null ? -1 : path.indexOf(timeline.cursor.turnId)
  if (at === -1 && timeline.cursor.turnId !== null) {
    return { ...timeline, visible: pathTo(timeline.turns, timeline.cursor.turnId), hidden: [], hiddenKnown: false }
  }
  return { ...timeline, visible: path.slice(0, at + 1), hidden: path.slice(at + 1), hiddenKnown: timeline.leaf !== null }
}

/** Keeps what came after a turn of the active branch as a discarded branch. */
function discardAfter(timeline: Timeline, from: string | null, at: string): Timeline {
  const { leaf } = timeline
  if (leaf === null || leaf === from) return timeline
  const branch: Discarded = { id: `br_${leaf.replace(/^turn_/, '')}`, leaf, from, at }
  return { ...timeline, discarded: [...timeline.discarded.filter((each) => each.id !== branch.id), branch] }
}

function restored(timeline: Timeline, branchId: string, leaf: string, at: string): Timeline {
  const path = new Set(pathTo(timeline.turns, leaf))
  const others = timeline.discarded
    .filter((each) => each.id !== branchId)
    .map((each) => {
      const shared = turnsOf(timeline.turns, each).filter((turn) => path.has(turn))
      return shared.length > 0 ? { ...each, from: shared.at(-1) ?? null } : each
    })
  const forkPoint = pathTo(timeline.turns, timeline.leaf).filter((turn) => path.has(turn)).at(-1) ?? null
  const afterDiscard = timeline.leaf === leaf ? { ...timeline, discarded: others } : discardAfter({ ...timeline, discarded: others }, forkPoint, at)
  return { ...afterDiscard, leaf, cursor: null }
}

const withTurn = (timeline: Timeline, turn: Turn): Timeline => ({
  ...timeline,
  turns: new Map(timeline.turns).set(turn.id, turn),
})

function withoutReply(timeline: Timeline, turnId: string): Timeline {
  if (!timeline.replies.has(turnId)) return timeline
  const replies = new Map(timeline.replies)
  replies.delete(turnId)
  return { ...timeline, replies }
}

/** Adds turns from older pages, branches or a replayed log. Known turns that are not pending stay as they are. */
export function withTurns(timeline: Timeline, found: Iterable<Turn>): Timeline {
  const turns = new Map(timeline.turns)
  for (const turn of found) {
    const known = turns.get(turn.id)
    if (!known || known.status === 'pending') turns.set(turn.id, turn)
  }
  return placed({ ...timeline, turns })
}

const discardedOf = (branch: Branch): Discarded[] => {
  const leaf = branch.turns.at(-1)
  return leaf ? [{ id: branch.id, leaf: leaf.id, from: branch.rewound_from_turn_id, at: branch.discarded_at }] : []
}

/** Applies a whole session as the API returns it. Loaded turns that are not in it stay loaded. */
export function withSession(timeline: Timeline, session: Session, seq: number | null): Timeline {
  const { turns: shown, discarded_branches: branches, ...head } = session
  const turns = new Map(timeline.turns)
  for (const branch of branches) for (const turn of branch.turns) turns.set(turn.id, turn)
  for (const turn of shown) turns.set(turn.id, turn)
  const listed = branches.flatMap(discardedOf)
  const ids = new Set(listed.map((each) => each.id))
  // Beyond the newest 50 a session does not list its branches: those that are known stay, unless they were restored.
  const seenIds = new Set(shown.map((turn) => turn.id))
  const beyond = branches.length >= 50 ? timeline.discarded.filter((each) => !ids.has(each.id) && !seenIds.has(each.leaf)) : []
  const newest = shown.at(-1)?.id ?? null
  const rewound = session.status === 'rewound' || (session.cursor_turn_id !== null && session.cursor_turn_id === newest)
  const before = { ...timeline, turns, session: head, discarded: [...beyond, ...listed], ended: session.is_completed }
  const taken = Math.max(seq ?? 0, timeline.seq)
  const next: Timeline = { ...before, seq: taken, revisionAt: taken }
  if (!rewound) return placed({ ...next, leaf: newest, cursor: null })
  const known = timeline.leaf !== null && (newest === null || pathTo(turns, timeline.leaf).includes(newest))
  const isDiscarded = known && listed.some((each) => each.leaf === timeline.leaf)
  // The API does not return the turns after the cursor; the event log has them.
  return placed({ ...next, leaf: known && !isDiscarded ? timeline.leaf : null, cursor: { turnId: newest } })
}

/** Replaces the head alone, with its cost, variables and revision. */
export const withHead = (timeline: Timeline, head: SessionHead, seq: number): Timeline => ({ ...timeline, session: head, revisionAt: seq })

/** The revision of what is shown, if it is certain. A command with it is rejected if another change came first. */
export const revisionOf = (timeline: Timeline): number | undefined =>
  timeline.revisionAt === timeline.seq ? timeline.session?.revision : undefined

function patched(timeline: Timeline, change: Partial<SessionHead>): Timeline {
  return timeline.session ? { ...timeline, session: { ...timeline.session, ...change } } : timeline
}

const revised = (timeline: Timeline, data: JsonObject): Timeline =>
  typeof data['revision'] === 'number' ? patched(timeline, { revision: data['revision'] }) : timeline

/** Applies one event, unless it was applied before. */
export function reduce(timeline: Timeline, event: StreamEvent): Timeline {
  if (event.seq !== null && event.seq <= timeline.seq && event.type !== 'snapshot') return timeline
  const next = revised(applied(timeline, event), event.data)
  if (event.seq === null || event.seq <= next.seq) return next
  return { ...next, seq: event.seq, ...(typeof event.data['revision'] === 'number' && { revisionAt: event.seq }) }
}

function applied(timeline: Timeline, { type, data, seq }: StreamEvent): Timeline {
  const turnId = text(data['turn_id'])
  const at = text(data['created_at'])
  switch (type) {
    case 'snapshot':
      return withSession(timeline, data as unknown as Session, seq)
    case 'turn_started': {
      const parent = id(data['parent_id'])
      const known = timeline.turns.get(turnId)
      const turn: Turn = known ?? {
        id: turnId,
        parent_id: parent,
        index: Number(data['index'] ?? 0),
        status: 'pending',
        created_at: at,
        user_message: data['user_message'] as unknown as Turn['user_message'],
        assistant_message: null,
        events: [],
        usage: NO_USAGE,
        cost: NO_COST,
        node_id: null,
        error: null,
        imported: false,
      }
      if (known && timeline.visible.includes(turnId)) return timeline
      const grown = withTurn(discardAfter(timeline, parent, at), turn)
      return patched(placed({ ...grown, leaf: turnId, cursor: null }), {
        status: turn.status === 'pending' ? 'pending_assistant_turn' : 'idle',
        cursor_turn_id: null,
      })
    }
    case 'reply_delta': {
      if (timeline.turns.get(turnId)?.status !== 'pending') return timeline
      const reply = `${timeline.replies.get(turnId) ?? ''}${text(data['text'])}`
      return { ...timeline, replies: new Map(timeline.replies).set(turnId, reply) }
    }
    case 'reply_reset': {
      if (timeline.turns.get(turnId)?.status !== 'pending') return timeline
      return { ...timeline, replies: new Map(timeline.replies).set(turnId, text(data['text'])) }
    }
    case 'turn_completed':
    case 'turn_failed':
    case 'turn_interrupted': {
      const turn = data['turn'] as unknown as Turn
      const settled = withoutReply(withTurn(timeline, turn), turn.id)
      if (settled.visible.at(-1) !== turn.id) return settled
      const status = type === 'turn_failed' ? 'error' : timeline.cursor ? 'rewound' : 'idle'
      return patched(settled, { status, ...(turn.node_id !== null && { current_node_id: turn.node_id }) })
    }
    case 'rewound': {
      const cursor = data['cleared'] === true ? null : { turnId: id(data['cursor_turn_id']) }
      const moved = placed({ ...timeline, cursor })
      const last = [...moved.visible].reverse().map((each) => moved.turns.get(each)?.node_id)
      const node = last.find((each) => typeof each === 'string')
      const pending = moved.turns.get(moved.visible.at(-1) ?? '')?.status === 'pending'
      return patched(moved, {
        status: cursor ? 'rewound' : pending ? 'pending_assistant_turn' : 'idle',
        cursor_turn_id: cursor?.turnId ?? null,
        ...(node && { current_node_id: node }),
      })
    }
    case 'branch_restored': {
      const moved = placed(restored(timeline, text(data['branch_id']), text(data['leaf_turn_id']), at))
      const node = moved.turns.get(moved.leaf ?? '')?.node_id
      return patched(moved, { status: 'idle', cursor_turn_id: null, ...(node && { current_node_id: node }) })
    }
    case 'session_completed':
      return patched(
        { ...timeline, ended: true },
        { status: 'completed', is_completed: true, completion_reason: text(data['reason']) },
      )
    default:
      return TURN_EVENTS.has(type) ? noted(timeline, type, data) : timeline
  }
}

/** Adds an event to its turn, unless the turn has it already. */
function noted(timeline: Timeline, type: string, data: JsonObject): Timeline {
  const { turn_id: turnId, created_at: at, revision: _, ...payload } = data
  const turn = timeline.turns.get(text(turnId))
  if (!turn) return timeline
  const same = (event: TurnEvent): boolean =>
    event.type === type &&
    event.created_at === at &&
    (event.payload['call_id'] ?? null) === (payload['call_id'] ?? null) &&
    (event.payload['to_node'] ?? null) === (payload['to_node'] ?? null)
  if (turn.events.some(same)) return timeline
  const node = type === 'node_transition' ? id(payload['to_node']) : null
  const changed = withTurn(timeline, {
    ...turn,
    ...(node !== null && { node_id: node }),
    events: [...turn.events, { type, created_at: text(at), payload }],
  })
  const newest = timeline.visible.at(-1) === turn.id
  return node !== null && newest ? patched(changed, { current_node_id: node }) : changed
}
