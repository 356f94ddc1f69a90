/** The graph of an agent, laid out once per version. */
import { graphlib, layout as dagre } from '@dagrejs/dagre'
import type { AgentDefinition, Transition } from '../api/types.ts'

export const NODE = { width: 150, height: 40 }

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
}

export interface Graph {
  nodes: GraphNode[]
  edges: GraphEdge[]
}

export function graphOf(definition: AgentDefinition): Graph {
  const graph = new graphlib.Graph()
  graph.setGraph({ rankdir: 'TB', nodesep: 24, ranksep: 56, marginx: 8, marginy: 8 })
  graph.setDefaultEdgeLabel(() => ({}))
  const edges = new Map<string, GraphEdge>()
  for (const [name, node] of Object.entries(definition.nodes)) {
    graph.setNode(name, { ...NODE })
    for (const transition of node.transitions ?? []) {
      const id = `${name} → ${transition.to}`
      const edge = edges.get(id)
      if (edge) edge.transitions.push(transition)
      else edges.set(id, { id, from: name, to: transition.to, transitions: [transition] })
      graph.setEdge(name, transition.to)
    }
  }
  dagre(graph)
  return {
    nodes: Object.entries(definition.nodes).map(([id, node]) => {
      const place = graph.node(id) as { x: number; y: number }
      return { id, x: place.x - NODE.width / 2, y: place.y - NODE.height / 2, end: node.end ?? false, start: id === definition.start }
    }),
    edges: [...edges.values()],
  }
}
