/** The graph of an agent, laid out once per version. */
import { graphlib, layout as dagre } from '@dagrejs/dagre'
import type { AgentDefinition, Transition } from '../api/types.ts'

export const NODE = { width: 150, height: 40 }

export interface Point {
  x: number
  y: number
}

export interface GraphNode {
  id: string
  x: number
  y: number
  end: boolean
  start: boolean
}

export interface GraphEdge {
  id: string
  from: string
  to: string
  transitions: Transition[]
  /** The route from the border of one node to that of the other, around the nodes in between. */
  points: readonly Point[]
}

export interface Graph {
  nodes: GraphNode[]
  edges: GraphEdge[]
}

/** A curve along some points: it begins at the first, ends at the last, and bends at those between. */
export function curve(points: readonly Point[]): string {
  const [first, ...rest] = points
  const last = rest.pop()
  if (!first || !last) return ''
  const bends = rest.map((bend, at) => {
    const next = rest[at + 1]
    const to = next ? { x: (bend.x + next.x) / 2, y: (bend.y + next.y) / 2 } : last
    return `Q${bend.x} ${bend.y} ${to.x} ${to.y}`
  })
  return `M${first.x} ${first.y}${bends.length > 0 ? bends.join('') : `L${last.x} ${last.y}`}`
}

export function graphOf(definition: AgentDefinition): Graph {
  const graph = new graphlib.Graph()
  graph.setGraph({ rankdir: 'TB', nodesep: 24, ranksep: 56, edgesep: 16, marginx: 8, marginy: 8 })
  graph.setDefaultEdgeLabel(() => ({}))
  const edges = new Map<string, GraphEdge>()
  for (const [name, node] of Object.entries(definition.nodes)) {
    graph.setNode(name, { ...NODE })
    for (const transition of node.transitions ?? []) {
      const id = `${name} → ${transition.to}`
      const edge = edges.get(id)
      if (edge) edge.transitions.push(transition)
      else edges.set(id, { id, from: name, to: transition.to, transitions: [transition], points: [] })
      graph.setEdge(name, transition.to)
    }
  }
  dagre(graph)
  return {
    nodes: Object.entries(definition.nodes).map(([id, node]) => {
      const place = graph.node(id) as { x: number; y: number }
      return { id, x: place.x - NODE.width / 2, y: place.y - NODE.height / 2, end: node.end ?? false, start: id === definition.start }
    }),
    edges: [...edges.values()].map((edge) => ({ ...edge, points: (graph.edge(edge.from, edge.to) as { points: Point[] }).points })),
  }
}
