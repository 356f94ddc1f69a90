/** The log of the session, by sequence number, as it grows. Selecting an event selects its turn. */
import { useVirtualizer } from '@tanstack/react-virtual'
import { useEffect, useMemo, useRef, useState } from 'react'
import { asProblem, type Problem } from '../api/problems.ts'
import { useSession } from '../timeline/store.ts'
import { Button, join } from '../ui/controls.tsx'
import { Json } from '../ui/Json.tsx'
import { Empty, Loading, ProblemNote } from '../ui/states.tsx'
import { clock } from '../words.ts'
import type { TabProps } from './Inspector.tsx'

export function Events({ store, selection, turn }: TabProps) {
  const log = useSession(store, (state) => state.log)
  const whole = useSession(store, (state) => state.logWhole)
  const seq = useSession(store, (state) => state.timeline.seq)
  const [type, setType] = useState('')
  const [relative, setRelative] = useState(true)
  const [open, setOpen] = useState<number | null>(null)
  const [problem, setProblem] = useState<Problem | null>(null)
  const known = seq > 0
  useEffect(() => {
    if (!whole && known) store.actions.readLog().catch((error: unknown) => setProblem(asProblem(error)))
  }, [store, whole, known])

  const types = useMemo(() => [...new Set(log.map((event) => event.type))].sort(), [log])
  const events = useMemo(() => (type ? log.filter((event) => event.type === type) : log), [log, type])
  const startedAt = Date.parse(String(log[0]?.data['created_at'] ?? ''))
  const scroller = useRef<HTMLDivElement>(null)
  const virtualizer = useVirtualizer({
    count: events.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => 28,
    getItemKey: (at) => events[at]?.seq ?? at,
    overscan: 10,
    anchorTo: 'end',
    followOnAppend: true,
    scrollEndThreshold: 48,
  })
  if (problem) return <ProblemNote error={problem} />
  if (!whole && log.length === 0) return <Loading rows={8} height={20} />
  if (log.length === 0) return <Empty title="Nothing has happened yet" />
  return (
    <div className="flex h-full min-h-64 flex-col">
      <div className="flex items-center gap-2 border-b border-line p-2">
        <select aria-label="Type of event" value={type} onChange={(event) => setType(event.target.value)} className="field min-w-0 flex-1 text-list">
          <option value="">All {log.length} events</option>
          {types.map((each) => (
            <option key={each}>{each}</option>
          ))}
        </select>
        <Button onClick={() => setRelative(!relative)}>{relative ? 'Clock' : 'Since start'}</Button>
      </div>
      <div ref={scroller} className="min-h-0 flex-1 overflow-auto">
        <ol className="relative" style={{ height: virtualizer.getTotalSize() }}>
          {virtualizer.getVirtualItems().map((virtual) => {
            const event = events[virtual.index]
            if (!event) return null
            const at = String(event.data['created_at'] ?? '')
            const of = typeof event.data['turn_id'] === 'string' ? event.data['turn_id'] : null
            const isOpen = open === event.seq
            return (
              <li key={virtual.key} ref={virtualizer.measureElement} data-index={virtual.index} className="absolute top-0 left-0 w-full" style={{ transform: `translateY(${virtual.start}px)` }}>
                <button
                  type="button"
                  aria-expanded={isOpen}
                  onClick={() => {
                    setOpen(isOpen ? null : event.seq)
                    if (of) selection.go({ turn: of }, { replace: true })
                  }}
                  className={join('target flex h-7 w-full items-center gap-2 px-3 text-left text-list hover:bg-hover', of !== null && of === turn?.id && 'bg-accent-tint')}
                >
                  <span className="w-8 text-right text-meta text-faint">{event.seq}</span>
                  <span className="w-16 text-right text-meta text-muted">
                    {relative ? `+${((Date.parse(at) - startedAt) / 1000).toFixed(1)} s` : at && clock(at)}
                  </span>
                  <span className={join('truncate font-mono text-code', /failed|error|refused/.test(event.type) && 'text-bad')}>{event.type}</span>
                </button>
                {isOpen && (
                  <div className="px-3 pb-2">
                    <Json value={event.data} name={`event-${event.seq}`} />
                  </div>
                )}
              </li>
            )
          })}
        </ol>
      </div>
    </div>
  )
}
