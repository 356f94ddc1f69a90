/** The turns on show: those of the active branch, those that a rewind hides, or those of a discarded branch. */
import { useEffect, useMemo, useState } from 'react'
import type { Turn } from '../api/types.ts'
import { pathTo, type Discarded } from '../timeline/reduce.ts'
import { children, type Placed } from '../timeline/siblings.ts'
import { knownTurns, useSession, type SessionStore } from '../timeline/store.ts'

export interface View {
  mode: 'active' | 'hidden' | 'discarded'
  path: readonly string[]
  branch: Discarded | null
  /** `missing` if there is no such branch. */
  state: 'ready' | 'loading' | 'missing'
  byParent: ReadonlyMap<string | null, readonly Placed[]>
}

export function useView(store: SessionStore, branchId: string | undefined): View {
  const timeline = useSession(store, (state) => state.timeline)
  const tree = useSession(store, (state) => state.tree)
  const { turns, visible, hidden, discarded } = timeline
  const byParent = useMemo(() => children(knownTurns({ timeline: { ...timeline, turns }, tree })), [turns, tree]) // eslint-disable-line
  const branch = branchId === undefined || branchId === 'hidden' ? null : (discarded.find((each) => each.id === branchId) ?? null)

  const path = useMemo(() => {
    if (branchId === undefined) return visible
    if (branchId === 'hidden') return [...visible, ...hidden]
    const leaf = branch?.leaf ?? `turn_${branchId.replace(/^br_/, '')}`
    return pathTo(turns, leaf)
  }, [branchId, branch, visible, hidden, turns])

  const complete = path.length > 0 || visible.length === 0
  const [searched, setSearched] = useState<string | null>(null)
  const loaded = useSession(store, (state) => state.timeline.session !== null)
  useEffect(() => {
    if (branchId === undefined || branchId === 'hidden' || complete || !loaded) return
    let gone = false
    void store.actions.readLog().finally(() => !gone && setSearched(branchId))
    return () => {
      gone = true
    }
  }, [store, branchId, complete, loaded])

  const { hiddenKnown } = timeline
  useEffect(() => {
    // The event log has the turns that a rewind hides.
    if (branchId === 'hidden' && loaded && !hiddenKnown) void store.actions.readLog()
  }, [store, branchId, loaded, hiddenKnown])

  const mode = branchId === undefined ? 'active' : branchId === 'hidden' ? 'hidden' : 'discarded'
  // A branch that became active meanwhile is shown as the active one.
  const isActive = mode === 'discarded' && complete && path.length > 0 && path.at(-1) === timeline.leaf
  return {
    mode: isActive ? 'active' : mode,
    path: isActive ? visible : path,
    branch,
    state: complete ? 'ready' : searched === branchId ? 'missing' : 'loading',
    byParent,
  }
}

/** Why a turn deserves a look: it failed, was interrupted, or has an error of a tool or of its execution. */
export function troubleOf(turn: Turn): 'failed' | 'interrupted' | 'tool' | null {
  if (turn.status === 'failed') return 'failed'
  if (turn.status === 'interrupted') return 'interrupted'
  const broken = turn.events.some(
    (event) => (event.type === 'tool_call_result' && Boolean(event.payload['error'])) || event.type === 'execution_error',
  )
  return broken ? 'tool' : null
}

export const changesNode = (turn: Turn): boolean =>
  turn.events.some((event) => event.type === 'node_transition' && event.payload['from_node'] !== event.payload['to_node'])
