/** An agent's graph, read-only: where a conversation stands, how it came there, what it could do next. */
import { BaseEdge, Background, Handle, MarkerType, Position, ReactFlow, ReactFlowProvider, useReactFlow, type Edge, type EdgeProps, type Node, type NodeProps } from '@xyflow/react'
import '@xyflow/react/dist/base.css'
import { Maximize, Minus, Plus } from 'lucide-react'
import { memo, useCallback, useEffect, useMemo, useRef } from 'react'
import type { AgentDefinition } from '../api/types.ts'
import { usePreferences } from '../settings/preferences.ts'
import { IconButton, join } from '../ui/controls.tsx'
import { curve, graphOf, NODE, type Point } from './graph.ts'

/** Left free around the graph for its controls. */
const ROOM = { top: '40px', bottom: matchMedia('(pointer: coarse)').matches ? '68px' : '44px', left: '12px', right: '12px' } as const

interface GraphProps {
  definition: AgentDefinition
  /** The current node, highlighted. */
  at?: string | null
  /** Nodes in the order in which they were visited. */
  walked?: readonly { node: string; turn: string; transition: string | null }[]
  /** The node that is opened. */
  opened?: string | undefined
  open: (node: string) => void
  marks?: ReadonlyMap<string, 'added' | 'removed' | 'changed'>
}

type NodeData = {
  label: string
  lit: boolean
  visits: number[]
  start: boolean
  end: boolean
  opened: boolean
  mark: 'added' | 'removed' | 'changed' | undefined
}

const MARK_LOOKS = { added: 'border-ok bg-ok-tint', removed: 'border-bad bg-bad-tint border-dashed', changed: 'border-warn bg-warn-tint' }

const AgentNode = memo(function AgentNode({ data }: NodeProps<Node<NodeData>>) {
  return (
    <div
      style={{ width: NODE.width, height: NODE.height }}
      className={join(
        'flex items-center gap-1 border bg-surface px-2 text-meta',
        data.end ? 'rounded-full' : 'rounded-sm',
        data.lit ? 'border-2 border-accent bg-accent-tint font-semibold' : data.mark ? MARK_LOOKS[data.mark] : data.visits.length > 0 ? 'border-accent' : 'border-control',
        data.opened && 'outline-2 outline-accent',
      )}
    >
      <Handle type="target" position={Position.Top} className="invisible" />
      <span className="min-w-0 flex-1 truncate text-center">
        {data.start && <span aria-label="start">▸ </span>}
        {data.label}
      </span>
      {data.visits.length > 0 && (
        <span className="rounded-full bg-accent px-1.5 text-on-accent" aria-label={`visited as number ${data.visits.join(', ')}`}>
          {data.visits.slice(-3).join(' ')}
        </span>
      )}
      <Handle type="source" position={Position.Bottom} className="invisible" />
    </div>
  )
})

type EdgeData = { points: readonly Point[] }

/** An edge along the route of the layout, which goes around the nodes in between. */
const RoutedEdge = memo(function RoutedEdge({ data, style, markerEnd }: EdgeProps<Edge<EdgeData>>) {
  return <BaseEdge path={curve(data?.points ?? [])} {...(style && { style })} {...(markerEnd && { markerEnd })} />
})

const nodeTypes = { agent: AgentNode }
const edgeTypes = { routed: RoutedEdge }

export default function GraphView(props: GraphProps) {
  return (
    <ReactFlowProvider>
      <Flow {...props} />
    </ReactFlowProvider>
  )
}

function Flow({ definition, at, walked = [], opened, open, marks }: GraphProps) {
  const follow = usePreferences((state) => state.followNode)
  const setPreferences = usePreferences((state) => state.set)
  const graph = useMemo(() => graphOf(definition), [definition])
  const flow = useReactFlow()
  const visits = useMemo(() => {
    const found = new Map<string, number[]>()
    walked.forEach((visit, index) => found.set(visit.node, [...(found.get(visit.node) ?? []), index + 1]))
    return found
  }, [walked])

  const nodes = useMemo(
    (): Node<NodeData>[] =>
      graph.nodes.map((node) => ({
        id: node.id,
        type: 'agent',
        position: { x: node.x, y: node.y },
        width: NODE.width,
        height: NODE.height,
        ariaLabel: `Node ${node.id}`,
        data: {
          label: node.id,
          lit: node.id === at,
          visits: visits.get(node.id) ?? [],
          start: node.start,
          end: node.end,
          opened: node.id === opened,
          mark: marks?.get(node.id),
        },
      })),
    [graph, at, visits, opened, marks],
  )
  const edges = useMemo((): Edge<EdgeData>[] => {
    const taken = new Set(walked.flatMap((visit, index) => (index > 0 ? [`${walked[index - 1]?.node} → ${visit.node}`] : [])))
    return graph.edges.map((edge) => {
      const offered = edge.from === at
      const used = taken.has(edge.id)
      const colour = used ? 'var(--accent)' : offered ? 'var(--text)' : 'var(--control)'
      return {
        id: edge.id,
        type: 'routed',
        data: { points: edge.points },
        source: edge.from,
        target: edge.to,
        ariaLabel: `${edge.id}: ${edge.transitions.map((each) => each.name).join(', ')}`,
        style: { stroke: colour, strokeWidth: used || offered ? 1.75 : 1, ...(at !== undefined && !used && !offered && { strokeDasharray: '3 3' }) },
        markerEnd: { type: MarkerType.ArrowClosed, color: colour, width: 14, height: 14 },
      }
    })
  }, [graph, at, walked])

  const centre = useCallback(() => {
    if (!follow || !at || !graph.nodes.some((node) => node.id === at)) return false
    // Fit the current node, the visited nodes and those reachable in one transition.
    const shown = new Set([at, ...walked.map((visit) => visit.node), ...graph.edges.filter((edge) => edge.from === at).map((edge) => edge.to)])
    void flow.fitView({ nodes: [...shown].map((id) => ({ id })), maxZoom: 0.9, padding: ROOM, duration: 0 })
    return true
  }, [flow, graph, at, follow, walked])
  useEffect(() => void centre(), [centre])

  // Until the user moves the graph, fit it again whenever its pane is resized; the first size may come late.
  const pane = useRef<HTMLDivElement>(null)
  const touched = useRef(false)
  const fit = useCallback(() => {
    if (!touched.current && !centre()) void flow.fitView({ maxZoom: 1, padding: ROOM, duration: 0 })
  }, [flow, centre])
  useEffect(() => {
    if (!pane.current) return
    const watch = new ResizeObserver(fit)
    watch.observe(pane.current)
    return () => watch.disconnect()
  }, [fit])

  return (
    <div ref={pane} className="relative h-full min-h-64">
      <ReactFlow
        nodes={nodes}
        edges={edges}
        nodeTypes={nodeTypes}
        edgeTypes={edgeTypes}
        nodesDraggable={false}
        nodesConnectable={false}
        edgesFocusable={false}
        elementsSelectable={false}
        onNodeClick={(_, node) => open(node.id)}
        onInit={fit}
        onMoveStart={(event) => {
          // Without an event the graph was moved by code, not by the user.
          if (event) touched.current = true
        }}
        minZoom={0.2}
        maxZoom={1.5}
        proOptions={{ hideAttribution: true }}
      >
        <Background color="var(--line)" gap={16} />
      </ReactFlow>
      <div className="absolute bottom-2 left-2 flex rounded-sm border border-line bg-surface">
        <IconButton label="Larger" onClick={() => void flow.zoomIn()}>
          <Plus size={14} />
        </IconButton>
        <IconButton label="Smaller" onClick={() => void flow.zoomOut()}>
          <Minus size={14} />
        </IconButton>
        <IconButton label="All of it" onClick={() => void flow.fitView({ maxZoom: 1, padding: ROOM })}>
          <Maximize size={14} />
        </IconButton>
      </div>
      {at !== undefined && (
        <label className="absolute top-2 right-2 flex items-center gap-1 rounded-sm border border-line bg-surface px-2 text-meta text-muted">
          <input type="checkbox" checked={follow} onChange={(event) => setPreferences({ followNode: event.target.checked })} />
          follow
        </label>
      )}
    </div>
  )
}
