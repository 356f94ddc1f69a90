/** What changed between two versions of an agent, node by node. */
import type { AgentDefinition } from '../api/types.ts'

export interface NodeChange {
  node: string
  kind: 'added' | 'removed' | 'changed'
  /** The fields that differ, as texts. */
  fields: { name: string; before: string; after: string }[]
}

const written = (value: unknown): string => (value === undefined || value === null ? '' : typeof value === 'string' ? value : JSON.stringify(value, null, 2))

function fieldsOf(before: object | undefined, after: object | undefined): NodeChange['fields'] {
  const [one, other] = [(before ?? {}) as Record<string, unknown>, (after ?? {}) as Record<string, unknown>]
  return [...new Set([...Object.keys(one), ...Object.keys(other)])]
    .map((name) => ({ name, before: written(one[name]), after: written(other[name]) }))
    .filter((field) => field.before !== field.after)
}

export function difference(before: AgentDefinition, after: AgentDefinition): NodeChange[] {
  const names = [...new Set([...Object.keys(after.nodes), ...Object.keys(before.nodes)])]
  const { nodes: _, ...restBefore } = before
  const { nodes: __, ...restAfter } = after
  const whole = fieldsOf(restBefore, restAfter)
  const nodes = names.flatMap((node): NodeChange[] => {
    const [one, other] = [before.nodes[node], after.nodes[node]]
    const fields = fieldsOf(one, other)
    if (fields.length === 0) return []
    return [{ node, kind: !one ? 'added' : !other ? 'removed' : 'changed', fields }]
  })
  return whole.length > 0 ? [{ node: '', kind: 'changed', fields: whole }, ...nodes] : nodes
}
