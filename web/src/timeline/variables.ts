/** The variables at a turn, each with the turn that set it. */
import type { JsonObject, Json, Turn } from '../api/types.ts'

export interface Variable {
  name: string
  value: Json
  /** The turn that set it; null for what was given at the start. */
  since: string | null
  /** The value before, where the last turn of the path changed it. */
  before?: Json
  changedHere: boolean
}

export function variablesAt(initial: JsonObject, path: readonly Turn[]): Variable[] {
  const known = new Map<string, Variable>()
  for (const [name, value] of Object.entries(initial)) known.set(name, { name, value, since: null, changedHere: false })
  const last = path.at(-1)?.id
  for (const turn of path) {
    for (const event of turn.events) {
      if (event.type !== 'variables_extracted') continue
      for (const [name, value] of Object.entries((event.payload['variables'] ?? {}) as JsonObject)) {
        const old = known.get(name)
        if (old && JSON.stringify(old.value) === JSON.stringify(value)) continue
        known.set(name, {
          name,
          value,
          since: turn.id,
          changedHere: turn.id === last,
          ...(turn.id === last && { before: old?.value ?? null }),
        })
      }
    }
  }
  return [...known.values()]
}

/** The nodes that a path went through, each visit once, with the turn in which it began. */
export function visits(path: readonly Turn[]): { node: string; turn: string; transition: string | null }[] {
  return path.flatMap((turn) =>
    turn.events
      .filter((event) => event.type === 'node_transition')
      .map((event) => ({
        node: String(event.payload['to_node'] ?? ''),
        turn: turn.id,
        transition: typeof event.payload['transition'] === 'string' ? event.payload['transition'] : null,
      })),
  )
}

/** The node in which a turn began and the one where it ended. */
export function nodesOf(turn: Turn, before: string | null): { from: string | null; to: string | null } {
  const transitions = turn.events.filter((event) => event.type === 'node_transition')
  const to = transitions.at(-1)?.payload['to_node']
  return { from: before, to: typeof to === 'string' ? to : (turn.node_id ?? before) }
}
