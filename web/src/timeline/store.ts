/** The store of a session on show: its timeline, its connection, and what is loaded beside them. */
import { useEffect, useState } from 'react'
import { createStore, useStore, type StoreApi } from 'zustand'
import { asProblem, type Problem } from '../api/problems.ts'
import { all, sessions } from '../api/routes.ts'
import { Connection, replayLog, type Link } from '../api/stream.ts'
import type { Session, TreeTurn, Turn } from '../api/types.ts'
import { EMPTY, reduce, withHead, withSession, withTurns, type StreamEvent, type Timeline } from './reduce.ts'
import type { Placed } from './siblings.ts'

const REFRESH_MS = 250
/** Events wait at most this long for a frame: a browser that is busy or shows another tab draws none. */
const MAX_FRAME_MS = 100
/** Events within this time of a reconnect count as missed. */
const CAUGHT_UP_MS = 600

export interface SessionState {
  id: string
  timeline: Timeline
  link: Link
  problem: Problem | null
  /** When the whole session was last read or received, in ms; the data itself may be older: its `as_of`. */
  readAt: number
  /** Durable events received since the page connected, or all of them once the log was read. */
  log: readonly StreamEvent[]
  /** True once `log` begins at event 1. */
  logWhole: boolean
  /** Every turn in short; null until it is loaded, and where the API has no such list. */
  tree: readonly TreeTurn[] | null
  /** How many events a reconnect brought; null when there is nothing to say. */
  missed: number | null
  loadingOlder: boolean
  olderCursor: string | null | undefined
}

/** When the connection was lost, in ms, else null. What is shown is as of then. */
export const lostSince = (state: SessionState): number | null => (state.link.kind === 'lost' ? state.link.since : null)

export interface SessionActions {
  refresh(): Promise<void>
  loadOlder(): Promise<void>
  /** Loads turns until this one is there; false where it cannot be found. */
  reach(turnId: string): Promise<boolean>
  readLog(): Promise<void>
  loadTree(): Promise<void>
  retry(): void
  forgetMissed(): void
}

export type SessionStore = StoreApi<SessionState> & { actions: SessionActions }

export function createSession(id: string): SessionStore & { open(): void; close(): void } {
  const store = createStore<SessionState>(() => ({
    id,
    timeline: EMPTY,
    link: { kind: 'connecting' },
    problem: null,
    readAt: 0,
    log: [],
    logWhole: false,
    tree: null,
    missed: null,
    loadingOlder: false,
    olderCursor: undefined,
  }))
  const { getState: get, setState: set } = store
  const closing = { controller: new AbortController() }
  let connection: Connection | null = null
  let queue: StreamEvent[] = []
  let due: { frame: number; timer: ReturnType<typeof setTimeout> } | null = null
  let receivedCount = 0
  let refreshTimer: ReturnType<typeof setTimeout> | undefined
  let refreshing = false
  let loading: Promise<void> | null = null
  let again = false
  let catchUp: { count: number; until: number } | null = null

  const change = (step: (timeline: Timeline) => Timeline): void => set({ timeline: step(get().timeline) })

  /** Applies all events of a frame at once: a streamed reply changes one row, at most once a frame. */
  function flush(): void {
    if (due) {
      cancelAnimationFrame(due.frame)
      clearTimeout(due.timer)
      due = null
    }
    const events = queue
    queue = []
    const state = get()
    const fresh = events.filter((event) => event.seq !== null && event.type !== 'snapshot' && event.seq > state.timeline.seq)
    const timeline = events.reduce(reduce, state.timeline)
    const read = events.some((event) => event.type === 'snapshot') && { readAt: Date.now() }
    set({ timeline, ...read, ...(fresh.length > 0 && { log: [...state.log, ...fresh] }) })
    if (catchUp && fresh.length > 0) {
      catchUp.count += fresh.length
      if (Date.now() <= catchUp.until) set({ missed: catchUp.count })
    }
    if (fresh.length > 0) scheduleRefresh()
    if (fresh.length > 0 && state.tree !== null) void actions.loadTree()
  }

  function receive(event: StreamEvent): void {
    queue.push(event)
    receivedCount += 1
    due ??= { frame: requestAnimationFrame(flush), timer: setTimeout(flush, MAX_FRAME_MS) }
  }

  function scheduleRefresh(): void {
    clearTimeout(refreshTimer)
    refreshTimer = setTimeout(() => void refreshHead(), REFRESH_MS)
  }

  /** Reads cost, variables, revision and approvals, which events do not carry. */
  async function refreshHead(): Promise<void> {
    if (refreshing) {
      again = true
      return
    }
    refreshing = true
    const before = get().timeline.seq
    try {
      const { turns: _, discarded_branches: __, ...head } = await sessions.get(id, { signal: closing.controller.signal })
      const { timeline } = get()
      const same = timeline.seq === before
      const kept = timeline.session
      const newer = !same && kept && { status: kept.status, cursor_turn_id: kept.cursor_turn_id, current_node_id: kept.current_node_id }
      set({ timeline: withHead(timeline, { ...head, ...newer }, before), readAt: Date.now() })
      if (!same) again = true
    } catch (error) {
      if (!closing.controller.signal.aborted) set({ problem: asProblem(error) })
    } finally {
      refreshing = false
      if (again) {
        again = false
        scheduleRefresh()
      }
    }
  }

  const applySession = (session: Session): void => set({ timeline: withSession(get().timeline, session, null), readAt: Date.now() })

  /**
   * Reads the session. If events arrive meanwhile, the response may be older than they are, and would undo them: with a
   * live stream it is dropped, without one the session is read again.
   */
  async function readSession(signal: AbortSignal): Promise<void> {
    for (;;) {
      const before = receivedCount
      const session = await sessions.get(id, { signal })
      if (get().timeline.session === null || receivedCount === before) return applySession(session)
      if (get().link.kind === 'live') return
    }
  }

  async function loadPage(): Promise<void> {
    const state = get()
    if (state.olderCursor === null) return
    set({ loadingOlder: true })
    try {
      let cursor: string | null | undefined = state.olderCursor
      if (cursor === undefined) {
        // The first page holds what the session itself shows; its cursor leads to what came before.
        const first = await sessions.turns(id, { limit: 200 }, { signal: closing.controller.signal })
        change((timeline) => withTurns(timeline, first.items))
        cursor = first.next_cursor
      }
      if (cursor !== null) {
        const page = await sessions.turns(id, { limit: 200, cursor }, { signal: closing.controller.signal })
        change((timeline) => withTurns(timeline, page.items))
        cursor = page.next_cursor
      }
      set({ olderCursor: cursor })
    } catch (error) {
      if (!closing.controller.signal.aborted) set({ problem: asProblem(error) })
    } finally {
      set({ loadingOlder: false })
    }
  }

  /** Waits until the end of the log is known. */
  const logEndKnown = (): Promise<void> =>
    new Promise((resolve) => {
      const isKnown = ({ timeline }: SessionState): boolean => timeline.seq > 0 || timeline.ended
      if (isKnown(get())) return resolve()
      const stop = store.subscribe((state) => {
        if (!isKnown(state) && !closing.controller.signal.aborted) return
        stop()
        resolve()
      })
    })

  const actions: SessionActions = {
    async refresh() {
      try {
        await readSession(closing.controller.signal)
        set({ problem: null })
      } catch (error) {
        if (!closing.controller.signal.aborted) set({ problem: asProblem(error) })
      }
    },
    loadOlder: () => (loading ??= loadPage().finally(() => (loading = null))),
    async reach(turnId) {
      const known = (): boolean => get().timeline.turns.has(turnId)
      if (known()) return true
      while (!known() && get().olderCursor !== null && get().problem === null) await actions.loadOlder()
      if (!known()) await actions.readLog()
      return known()
    },
    async readLog() {
      await logEndKnown()
      if (closing.controller.signal.aborted) return
      const { logWhole, timeline, log: known } = get()
      if (logWhole && timeline.hiddenKnown) return
      // The log of a session that is over ends by itself.
      const until = timeline.seq > 0 ? timeline.seq : Infinity
      const log = logWhole ? known.filter((event) => (event.seq ?? 0) <= until) : await replayLog(id, until, closing.controller.signal)
      const whole = log.reduce(reduce, EMPTY)
      const later = get().log.filter((event) => (event.seq ?? 0) > until)
      set({ log: [...log, ...later], logWhole: true })
      change((timeline) => {
        const grown = withTurns(timeline, whole.turns.values())
        // The turns that a rewind hides were not loaded before: now they are.
        if (grown.hiddenKnown || whole.leaf === null) return grown
        return withTurns({ ...grown, leaf: whole.leaf }, [])
      })
    },
    async loadTree() {
      try {
        const tree = await all((cursor) => sessions.tree(id, { cursor, limit: 200 }, { signal: closing.controller.signal }), 50_000)
        set({ tree })
      } catch (error) {
        if (closing.controller.signal.aborted) return
        const problem = asProblem(error)
        if (problem.unsupported) await actions.readLog()
        else set({ problem })
      }
    },
    retry: () => {
      connection?.retry()
      void actions.refresh()
    },
    forgetMissed: () => set({ missed: null }),
  }

  return Object.assign(store, {
    actions,
    open() {
      closing.controller = new AbortController()
      connection = new Connection({
        url: `/v1/sessions/${encodeURIComponent(id)}/events`,
        lastId: () => get().timeline.seq,
        onEvent: receive,
        poll: readSession,
        isOver: () => {
          // The event that ends the session may still wait for its frame.
          if (queue.length > 0) flush()
          return get().timeline.ended && get().timeline.session !== null
        },
        onLink: (link) => {
          if (link.kind === 'live' && get().link.kind === 'lost') {
            catchUp = { count: 0, until: Date.now() + CAUGHT_UP_MS }
            set({ missed: 0, problem: null })
          }
          if (link.kind === 'refused') set({ problem: link.problem })
          set({ link })
        },
      })
      connection.start()
      // The conversation is shown as soon as it is read; the stream then begins with a snapshot of the same.
      void actions.refresh()
    },
    close() {
      connection?.stop()
      closing.controller.abort()
      clearTimeout(refreshTimer)
    },
  })
}

interface StoreEntry {
  store: ReturnType<typeof createSession>
  users: number
  closing?: ReturnType<typeof setTimeout>
}

const openStores = new Map<string, StoreEntry>()

function storeOf(id: string): SessionStore {
  const found = openStores.get(id)
  if (found) return found.store
  const store = createSession(id)
  openStores.set(id, { store, users: 0 })
  return store
}

/** The store of a session, connected while a component shows it, and two seconds longer. */
export function useSessionStore(id: string): SessionStore {
  const [, renew] = useState(0)
  const store = storeOf(id)
  useEffect(() => {
    const entry = openStores.get(id)
    if (!entry) return renew((times) => times + 1)
    clearTimeout(entry.closing)
    entry.users += 1
    if (entry.users === 1 && entry.closing === undefined) entry.store.open()
    entry.closing = undefined
    return () => {
      entry.users -= 1
      if (entry.users > 0) return
      entry.closing = setTimeout(() => {
        entry.store.close()
        openStores.delete(id)
      }, 2_000)
    }
  }, [id])
  return store
}

export const useSession = <Part>(store: SessionStore, select: (state: SessionState) => Part): Part => useStore(store, select)

/** All known turns, in short: those of the tree, if it is loaded, and the loaded turns. */
export function knownTurns(state: { timeline: Pick<Timeline, 'turns'>; tree: SessionState['tree'] }): Iterable<Placed> {
  if (!state.tree) return state.timeline.turns.values()
  const turns = new Map<string, Placed>(state.tree.map((turn) => [turn.id, turn]))
  for (const turn of state.timeline.turns.values()) turns.set(turn.id, turn)
  return turns.values()
}

/** The reply of a turn: its text so far while it is pending, else all of it. */
export const replyOf = (timeline: Timeline, turn: Turn): string =>
  turn.status === 'pending' ? (timeline.replies.get(turn.id) ?? '') : (turn.assistant_message?.text ?? '')
