/** Siblings: turns with the same parent. */

export interface Placed {
  id: string
  parent_id: string | null
  created_at: string
}

export interface Family {
  /** The turns with the same parent, oldest first. */
  all: readonly string[]
  /** The position of the given turn among them, from 0. */
  at: number
}

/** Children by parent, each list oldest first. */
export function children(turns: Iterable<Placed>): Map<string | null, Placed[]> {
  const found = new Map<string | null, Placed[]>()
  for (const turn of turns) {
    const list = found.get(turn.parent_id)
    if (list) list.push(turn)
    else found.set(turn.parent_id, [turn])
  }
  for (const list of found.values()) list.sort((a, b) => (a.created_at < b.created_at ? -1 : a.created_at > b.created_at ? 1 : 0))
  return found
}

export function family(byParent: ReadonlyMap<string | null, readonly Placed[]>, turn: Placed): Family {
  const all = (byParent.get(turn.parent_id) ?? [turn]).map((each) => each.id)
  return { all, at: all.indexOf(turn.id) }
}

/**
 * The leaf below a turn: the active one if it is below, else the newest.
 */
export function leafBeneath(
  byParent: ReadonlyMap<string | null, readonly Placed[]>,
  turnId: string,
  active: ReadonlySet<string>,
): string {
  let best = { id: turnId, at: '' }
  const stack = [...(byParent.get(turnId) ?? [])]
  const onActive = [...stack].find((each) => active.has(each.id))
  if (onActive) return leafBeneath(byParent, onActive.id, active)
  while (stack.length > 0) {
    const turn = stack.pop()
    if (!turn) break
    const below = byParent.get(turn.id) ?? []
    if (below.length === 0 && turn.created_at >= best.at) best = { id: turn.id, at: turn.created_at }
    stack.push(...below)
  }
  return best.id
}
