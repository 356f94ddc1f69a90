/** Ten pixels beside the scrollbar: a tick for every turn that deserves a look. Shape and colour show why. */
import { memo, useLayoutEffect, useRef, useState } from 'react'
import type { Turn } from '../api/types.ts'
import { changesNode, troubleOf } from './view.ts'

interface StripProps {
  turns: readonly (Turn | undefined)[]
  /** How many turns of the branch come before them and are not loaded. */
  offset: number
  branchPoints: ReadonlySet<string>
  quoted: ReadonlySet<string>
  jump: (index: number) => void
}

type Mark = 'failed' | 'interrupted' | 'tool' | 'quoted' | 'branch' | 'move'
const MARKS: Record<Mark, { colour: string; draw: (y: number) => string; label: string }> = {
  failed: { colour: 'var(--bad)', draw: (y) => `M0 ${y - 2}h10v4H0z`, label: 'failed' },
  tool: { colour: 'var(--bad)', draw: (y) => `M1 ${y}l4-3 4 3-4 3z`, label: 'tool error' },
  interrupted: { colour: 'var(--warn)', draw: (y) => `M0 ${y - 1}h4v2H0zM6 ${y - 1}h4v2H6z`, label: 'interrupted' },
  quoted: { colour: 'var(--warn)', draw: (y) => `M5 ${y - 3}l3 6H2z`, label: 'quoted by a judge' },
  branch: { colour: 'var(--live)', draw: (y) => `M5 ${y - 3}a3 3 0 1 0 .01 0z`, label: 'branch point' },
  move: { colour: 'var(--control)', draw: (y) => `M3 ${y}h7v1H3z`, label: 'moves to another node' },
}

const markOf = (turn: Turn, branchPoints: ReadonlySet<string>, quoted: ReadonlySet<string>): Mark | null =>
  quoted.has(turn.id) ? 'quoted' : (troubleOf(turn) ?? (branchPoints.has(turn.id) ? 'branch' : changesNode(turn) ? 'move' : null))

export const Strip = memo(function Strip({ turns, offset, branchPoints, quoted, jump }: StripProps) {
  const box = useRef<HTMLDivElement>(null)
  const [height, setHeight] = useState(600)
  useLayoutEffect(() => {
    const measured = box.current
    if (!measured) return
    const watch = new ResizeObserver(() => setHeight(measured.clientHeight))
    watch.observe(measured)
    return () => watch.disconnect()
  }, [])
  const paths = new Map<Mark, string>()
  turns.forEach((turn, at) => {
    const mark = turn && markOf(turn, branchPoints, quoted)
    if (mark) paths.set(mark, `${paths.get(mark) ?? ''}${MARKS[mark].draw(((offset + at + 0.5) / (offset + turns.length)) * height)}`)
  })
  const at = (event: React.PointerEvent): void => {
    const box = event.currentTarget.getBoundingClientRect()
    const part = Math.min(0.9999, Math.max(0, (event.clientY - box.top) / box.height))
    jump(Math.floor(part * (offset + turns.length)))
  }
  return (
    <div
      ref={box}
      aria-hidden
      data-strip
      title={[...paths.keys()].map((mark) => MARKS[mark].label).join(', ') || 'Turns'}
      className="w-[10px] shrink-0 cursor-pointer touch-none self-stretch overflow-hidden bg-canvas"
      onPointerDown={(event) => {
        event.currentTarget.setPointerCapture(event.pointerId)
        at(event)
      }}
      onPointerMove={(event) => event.buttons > 0 && at(event)}
    >
      <svg data-shape width="10" height={height} viewBox={`0 0 10 ${height}`}>
        {[...paths].map(([mark, d]) => (
          <path key={mark} d={d} fill={MARKS[mark].colour} />
        ))}
      </svg>
    </div>
  )
})
