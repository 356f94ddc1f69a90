/** The playhead: a slider over the turns. It moves the selection and never rewinds; playing keeps the real pace. */
import { Pause, Play } from 'lucide-react'
import { useEffect, useRef, useState } from 'react'
import type { Turn } from '../api/types.ts'
import { Button, IconButton } from '../ui/controls.tsx'

/** Pauses longer than this are skipped while playing. */
const MAX_GAP_MS = 120_000
const SPEEDS = [1, 2, 8] as const

interface PlayheadProps {
  turns: readonly (Turn | undefined)[]
  at: number
  /** The position of the first turn in the whole branch; those before it are not loaded. */
  offset: number
  /** Moves to a turn of the whole branch. */
  move: (index: number) => void
}

export function PlayheadBar({ turns, at, offset, move }: PlayheadProps) {
  const [playing, setPlaying] = useState(false)
  const [speed, setSpeed] = useState<(typeof SPEEDS)[number]>(1)
  const needle = useRef<HTMLDivElement>(null)
  const last = turns.length - 1
  const turn = turns[at]

  useEffect(() => {
    if (!playing) return
    if (at >= last) return setPlaying(false)
    const [here, next] = [turns[at], turns[at + 1]]
    const gap = here && next ? Date.parse(next.created_at) - Date.parse(here.created_at) : 0
    const wait = (gap > MAX_GAP_MS ? 500 : Math.max(250, gap)) / speed
    const startedAt = performance.now()
    let frame = 0
    // The needle is written into the DOM; React renders only when a turn begins.
    const draw = (now: number): void => {
      const part = Math.min(1, (now - startedAt) / wait)
      if (needle.current) needle.current.style.transform = `scaleX(${(offset + at + part) / Math.max(1, offset + last)})`
      if (part < 1) frame = requestAnimationFrame(draw)
      else move(offset + at + 1)
    }
    frame = requestAnimationFrame(draw)
    return () => cancelAnimationFrame(frame)
  }, [playing, at, last, offset, speed, turns, move])

  useEffect(() => {
    if (!playing && needle.current) needle.current.style.transform = `scaleX(${offset + last > 0 ? (offset + at) / (offset + last) : 1})`
  }, [playing, at, last, offset])

  if (turns.length === 0) return null
  return (
    <div className="flex items-center gap-2">
      <IconButton label={playing ? 'Pause' : 'Play the conversation at its own pace'} onClick={() => (at >= last ? move(offset) : undefined, setPlaying(!playing))}>
        {playing ? <Pause size={14} /> : <Play size={14} />}
      </IconButton>
      <div className="relative min-w-24 flex-1">
        <div className="pointer-events-none absolute inset-x-0 top-1/2 h-[3px] -translate-y-1/2 overflow-hidden rounded-full bg-line">
          <div ref={needle} className="h-full w-full origin-left bg-accent" />
        </div>
        <input
          type="range"
          role="slider"
          min={0}
          max={offset + last}
          value={offset + at}
          aria-label="Playhead"
          aria-valuetext={`turn ${(turn?.index ?? at + offset) + 0} of ${last + offset}${turn?.node_id ? `, ${turn.node_id}` : ''}`}
          onChange={(event) => move(Number(event.target.value))}
          className="playhead target relative block w-full"
        />
      </div>
      <span className="text-meta whitespace-nowrap text-muted">
        {turn?.index ?? at + offset} / {last + offset}
      </span>
      <Button look="quiet" aria-label={`Speed ${speed}`} onClick={() => setSpeed(SPEEDS[(SPEEDS.indexOf(speed) + 1) % SPEEDS.length] ?? 1)}>
        ×{speed}
      </Button>
    </div>
  )
}
