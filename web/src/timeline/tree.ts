/** The tree of turns as lanes: the active branch is lane 0, a split opens lanes to the right, and nothing crosses. */
import { add, NOTHING, type Amount } from './money.ts'
import { children, type Placed } from './siblings.ts'

export interface TreeNode extends Placed {
  index: number
  amount: Amount
}

/** A run of turns without a split. */
export interface Run {
  id: string
  turns: readonly string[]
  firstIndex: number
  lastIndex: number
  lane: number
  /** Lanes whose line goes on past this row. */
  through: readonly number[]
  parent: string | null
  /** On the active branch, hidden turns included. */
  active: boolean
  /** The run's last turn is a leaf of the tree. */
  leaf: string | null
  amount: Amount
  /** The cost of all turns below the run's last one; only where the tree splits there. */
  below: Amount | null
}

export function layout(nodes: readonly TreeNode[], activeLeaf: string | null): Run[] {
  const byId = new Map(nodes.map((node) => [node.id, node]))
  const byParent = children(nodes)
  const active = new Set<string>()
  for (let at = activeLeaf; at !== null && byId.has(at); at = byId.get(at)?.parent_id ?? null) active.add(at)

  const totals = new Map<string, Amount>()
  for (const node of [...nodes].sort((a, b) => b.index - a.index)) {
    const below = (byParent.get(node.id) ?? []).map((each) => totals.get(each.id) ?? NOTHING)
    totals.set(node.id, add(node.amount, ...below))
  }

  const rows: Run[] = []
  const roots = nodes.filter((node) => node.parent_id === null || !byId.has(node.parent_id))
  type Task = { start: string; lane: number; through: readonly number[]; parent: string | null }

  /** The child that stays on its parent's lane: the active one, else the newest. */
  const mainOf = (list: readonly Placed[]): Placed | undefined => list.find((each) => active.has(each.id)) ?? list.at(-1)
  const ordered = (list: readonly Placed[], task: { lane: number; through: readonly number[]; parent: string | null }): Task[] => {
    const main = mainOf(list)
    const sides = list.filter((each) => each !== main)
    const passing = [...task.through, task.lane]
    return [
      ...sides.map((each) => ({ start: each.id, lane: task.lane + 1, through: passing, parent: task.parent })),
      ...(main ? [{ start: main.id, lane: task.lane, through: task.through, parent: task.parent }] : []),
    ]
  }

  const stack = ordered(roots, { lane: 0, through: [], parent: null }).reverse()
  for (let task = stack.pop(); task; task = stack.pop()) {
    const turns = [task.start]
    let below = byParent.get(task.start) ?? []
    for (let only = below[0]; below.length === 1 && only; only = below[0]) {
      if (active.has(turns.at(-1) ?? '') !== active.has(only.id)) break
      turns.push(only.id)
      below = byParent.get(only.id) ?? []
    }
    const first = byId.get(task.start)
    const last = turns.at(-1) ?? task.start
    rows.push({
      id: task.start,
      turns,
      firstIndex: first?.index ?? 0,
      lastIndex: byId.get(last)?.index ?? 0,
      lane: task.lane,
      through: task.through,
      parent: task.parent,
      active: active.has(task.start),
      leaf: below.length === 0 ? last : null,
      amount: add(...turns.map((turn) => byId.get(turn)?.amount ?? NOTHING)),
      below: below.length > 1 ? add(...below.map((each) => totals.get(each.id) ?? NOTHING)) : null,
    })
    // A lone child that leaves the active branch still opens a lane, so that lane 0 stays the active one.
    const leaves = below.length === 1 && active.has(last) && !active.has(below[0]?.id ?? '')
    const next = leaves
      ? below.map((each) => ({ start: each.id, lane: task.lane + 1, through: task.through, parent: task.start }))
      : ordered(below, { lane: task.lane, through: task.through, parent: task.start })
    stack.push(...next.reverse())
  }
  return rows
}
