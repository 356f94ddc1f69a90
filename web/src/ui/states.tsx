/** Placeholders for content that is loading, empty or failed, and small parts that are used everywhere. */
import { useEffect, useState, type ReactNode } from 'react'
import { Check, Copy } from 'lucide-react'
import { adviceFor, asProblem } from '../api/problems.ts'
import { usePreferences } from '../settings/preferences.ts'
import { clock, fullTime, when } from '../words.ts'
import { Button, IconButton, join, Tip } from './controls.tsx'
import { showToast } from './toast.tsx'

/** Nothing for 150 ms, then skeleton bars with the height of the content. */
export function Loading({ rows = 4, height = 40, label = 'Loading' }: { rows?: number; height?: number; label?: string }) {
  const [late, setLate] = useState(false)
  useEffect(() => {
    const timer = setTimeout(() => setLate(true), 150)
    return () => clearTimeout(timer)
  }, [])
  return (
    <div role="status" aria-label={label} className="p-3">
      {late &&
        Array.from({ length: rows }, (_, row) => (
          <div key={row} className="skeleton mb-2" style={{ height, width: `${100 - ((row * 13) % 35)}%` }} />
        ))}
    </div>
  )
}

export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className="mx-auto flex max-w-md flex-col items-center gap-2 px-6 py-12 text-center">
      <p className="font-medium">{title}</p>
      <div className="text-list text-muted">{children}</div>
    </div>
  )
}

/** Replaces content that could not be loaded: on 404 the possible reasons and a way back, else the problem. */
export function Missing({ error, what, retry, children }: { error: unknown; what: string; retry?: (() => void) | undefined; children: ReactNode }) {
  if (asProblem(error).status !== 404) return <ProblemNote error={error} retry={retry} />
  return (
    <Empty title={`This ${what} is not here`}>
      <p>It was erased, does not exist, or belongs to another organization.</p>
      <p className="mt-3">{children}</p>
    </Empty>
  )
}

/** A problem in the API's words, with what to do. */
export function ProblemNote({ error, retry, className }: { error: unknown; retry?: (() => void) | undefined; className?: string }) {
  const problem = asProblem(error)
  return (
    <div role="alert" className={join('m-3 rounded-sm border border-bad bg-bad-tint px-3 py-2 text-list', className)}>
      <p>
        <strong className="font-semibold text-bad">{problem.title}</strong> <code className="font-mono text-meta text-muted">{problem.code}</code>
      </p>
      {problem.detail && <p className="break-words">{problem.detail}</p>}
      {problem.faults.length > 0 && (
        <ul className="mt-1 list-disc pl-5">
          {problem.faults.map((fault) => (
            <li key={`${fault.place} ${fault.message}`}>
              <code className="font-mono text-code">{fault.place}</code>: {fault.message}
            </li>
          ))}
        </ul>
      )}
      {adviceFor(problem) && <p className="text-muted">{adviceFor(problem)}</p>}
      <div className="mt-2 flex gap-2">
        {retry && <Button onClick={retry}>Retry</Button>}
        <CopyButton text={`${problem.code}: ${problem.title}\n${problem.detail}`} label="Copy" wide />
      </div>
    </div>
  )
}

export async function copy(text: string, what = 'Copied'): Promise<void> {
  try {
    await navigator.clipboard.writeText(text)
    showToast(what)
  } catch {
    showToast('The browser did not allow copying')
  }
}

export function CopyButton({ text, label, wide = false }: { text: string; label: string; wide?: boolean }) {
  const [done, setDone] = useState(false)
  const run = (): void => {
    void copy(text, `${label}: done`).then(() => setDone(true))
    setTimeout(() => setDone(false), 1_500)
  }
  const icon = done ? <Check size={14} /> : <Copy size={14} />
  if (!wide)
    return (
      <IconButton label={label} onClick={run}>
        {icon}
      </IconButton>
    )
  return (
    <Button onClick={run}>
      {icon}
      {label}
    </Button>
  )
}

/** A time of day; zone, ISO and UTC on hover. */
export function Clock({ at, short = false }: { at: string; short?: boolean }) {
  const utc = usePreferences((state) => state.clock === 'utc')
  const shown = utc ? at.slice(11, 19) : short ? when(at) : clock(at)
  return (
    <Tip label={fullTime(at)}>
      <time dateTime={at} tabIndex={-1}>
        {shown}
        {utc && ' UTC'}
      </time>
    </Tip>
  )
}

/** The current time in ms, updated every `every` ms, for ages and countdowns. */
export function useNow(every = 30_000): number {
  const [now, setNow] = useState(() => Date.now())
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), every)
    return () => clearInterval(timer)
  }, [every])
  return now
}

type Kind = 'idle' | 'live' | 'ok' | 'bad' | 'warn' | 'muted'
const SHAPES: Record<string, { kind: Kind; path: string; label: string; filled?: boolean }> = {
  idle: { kind: 'idle', path: 'M8 3a5 5 0 1 0 0 10A5 5 0 0 0 8 3z', label: 'Your turn' },
  pending_assistant_turn: { kind: 'live', path: 'M8 3a5 5 0 0 1 0 10zM8 3a5 5 0 0 0 0 10', label: 'Answering', filled: true },
  rewound: { kind: 'warn', path: 'M12 3 6 8l6 5zM5 3v10', label: 'Rewound' },
  error: { kind: 'bad', path: 'M8 2.5 14 13H2z', label: 'Reply failed' },
  completed: { kind: 'muted', path: 'M4 4h8v8H4z', label: 'Ended', filled: true },
  failed: { kind: 'bad', path: 'm4 4 8 8m0-8-8 8', label: 'Failed' },
  passed: { kind: 'ok', path: 'm3 8.5 3.5 3.5L13 4.5', label: 'Passed' },
  inconclusive: { kind: 'warn', path: 'M5.5 6a2.5 2.5 0 1 1 3.6 2.2c-.8.4-1.1.9-1.1 1.8m0 2.6v.4', label: 'Inconclusive' },
  interrupted: { kind: 'warn', path: 'M4 3v10M12 3v10', label: 'Interrupted' },
  running: { kind: 'live', path: 'M8 3a5 5 0 0 1 0 10zM8 3a5 5 0 0 0 0 10', label: 'Running', filled: true },
  talking: { kind: 'live', path: 'M8 3a5 5 0 0 1 0 10zM8 3a5 5 0 0 0 0 10', label: 'Talking', filled: true },
  judging: { kind: 'live', path: 'M8 3v10M3 6h10', label: 'Being judged' },
  waiting: { kind: 'muted', path: 'M7.5 7.5h1v1h-1z', label: 'Waiting', filled: true },
  paused: { kind: 'warn', path: 'M6 4v8M10 4v8', label: 'Paused' },
  cancelled: { kind: 'muted', path: 'M4 8h8', label: 'Cancelled' },
  cut: { kind: 'muted', path: 'M4 8h8', label: 'Cut short' },
}
const COLOURS: Record<Kind, string> = {
  idle: 'text-accent',
  live: 'text-live',
  ok: 'text-ok',
  bad: 'text-bad',
  warn: 'text-warn',
  muted: 'text-faint',
}

/** A state by shape and colour, with its name for screen readers. */
export function StatusShape({ status, size = 14 }: { status: string; size?: number }) {
  const shape = SHAPES[status] ?? SHAPES['idle']
  if (!shape) return null
  return (
    <svg data-shape width={size} height={size} viewBox="0 0 16 16" role="img" aria-label={shape.label} className={join('shrink-0', COLOURS[shape.kind])}>
      <path
        d={shape.path}
        fill={shape.filled ? 'currentColor' : 'none'}
        stroke="currentColor"
        strokeWidth="1.75"
        strokeLinecap="round"
        strokeLinejoin="round"
      />
    </svg>
  )
}

export function Badge({ kind, children }: { kind: 'accent' | 'ok' | 'bad' | 'warn' | 'live' | 'plain'; children: ReactNode }) {
  const looks = {
    accent: 'bg-accent-tint text-accent',
    ok: 'bg-ok-tint text-ok',
    bad: 'bg-bad-tint text-bad',
    warn: 'bg-warn-tint text-warn',
    live: 'bg-live-tint text-live',
    plain: 'bg-sunken text-muted',
  }
  return <span className={join('inline-flex items-center gap-1 rounded-sm px-1.5 text-meta whitespace-nowrap', looks[kind])}>{children}</span>
}

/** Saves the body of a response as a file. */
export async function download(answer: Promise<Response> | Response, name: string): Promise<void> {
  const blob = await (await answer).blob()
  const link = document.createElement('a')
  link.href = URL.createObjectURL(blob)
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000)
}

export const pageTitle = (title: string): string => `${title} · Playhead`

export function useTitle(title: string): void {
  useEffect(() => {
    document.title = pageTitle(title)
  }, [title])
}
