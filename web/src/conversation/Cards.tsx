/** The cards of a turn, one line each: tool calls, transitions between nodes, variables, errors. */
import { ChevronDown, ChevronRight, Wrench } from 'lucide-react'
import { useEffect, useState } from 'react'
import type { Json as JsonValue, JsonObject, Turn, TurnEvent } from '../api/types.ts'
import { join } from '../ui/controls.tsx'
import { Json } from '../ui/Json.tsx'
import { Badge, Clock } from '../ui/states.tsx'
import { duration, plural } from '../words.ts'

/** An attempt that failed and was followed by another. */
interface FailedAttempt {
  started_at: string
  seconds: number
  error: string
  status: number | null
}

interface Call {
  id: string
  name: string
  args: JsonObject
  startedAt: string
  result: TurnEvent | null
  /** How often it was tried, attempts that were lost with their worker included. */
  attempts: number
  failed: readonly FailedAttempt[]
}

export type Card =
  | { kind: 'call'; call: Call }
  | { kind: 'move'; from: string | null; to: string; transition: string | null; at: string }
  | { kind: 'variables'; node: string; variables: JsonObject; error: string | null; at: string }
  | { kind: 'note'; type: string; text: string; at: string }

const text = (value: JsonValue | undefined): string => (typeof value === 'string' ? value : '')

const recording = (id: string, words: string): string => (words === '' ? `Recording ${id}` : `Recording ${id}: “${words}”`)

/** The cards of a turn's events. A call is shown with its result; a transition as a move, not as a tool call. */
export function cardsOf(turn: Turn): Card[] {
  const transitions = new Set(turn.events.flatMap((event) => (event.type === 'node_transition' ? [text(event.payload['transition'])] : [])))
  return turn.events.flatMap((event): Card[] => {
    const { payload, created_at: at } = event
    switch (event.type) {
      case 'tool_call_started': {
        const name = text(payload['name'])
        if (transitions.has(name)) return []
        const result = turn.events.find((each) => each.type === 'tool_call_result' && each.payload['call_id'] === payload['call_id']) ?? null
        return [
          {
            kind: 'call',
            call: {
              id: text(payload['call_id']),
              name,
              args: (payload['arguments'] ?? {}) as JsonObject,
              startedAt: at,
              result,
              attempts: Number(result?.payload['attempts'] ?? 1),
              failed: (result?.payload['failed_attempts'] ?? []) as unknown as FailedAttempt[],
            },
          },
        ]
      }
      case 'node_transition':
        return [
          {
            kind: 'move',
            from: text(payload['from_node']) || null,
            to: text(payload['to_node']),
            transition: text(payload['transition']) || null,
            at,
          },
        ]
      case 'variables_extracted':
        return [
          { kind: 'variables', node: text(payload['node']), variables: (payload['variables'] ?? {}) as JsonObject, error: text(payload['error']) || null, at },
        ]
      case 'execution_error':
        // A failed turn shows its error itself, with the possible commands.
        return turn.status === 'failed' && text(payload['message']) === turn.error ? [] : [{ kind: 'note', type: event.type, text: text(payload['message']), at }]
      case 'command_refused':
        return [{ kind: 'note', type: event.type, text: `${text(payload['code'])}: ${text(payload['detail'])}`, at }]
      case 'recording_referenced':
        return [{ kind: 'note', type: event.type, text: recording(text(payload['recording_id']), text(payload['transcript'])), at }]
      default:
        return []
    }
  })
}

const brief = (value: JsonValue | undefined, most = 80): string => {
  const written = typeof value === 'string' ? value : JSON.stringify(value ?? null)
  return written.length > most ? `${written.slice(0, most)}…` : written
}
const signature = (args: JsonObject): string =>
  Object.entries(args)
    .map(([name, value]) => `${name}: ${brief(value, 40)}`)
    .join(', ')

export function Cards({ turn, before, unfolded }: { turn: Turn; before: JsonObject; unfolded: number }) {
  const cards = cardsOf(turn)
  if (cards.length === 0) return null
  return (
    <ul className="flex flex-col gap-0.5 py-1" aria-label="What happened in this turn">
      {cards.map((card, at) => (
        <li key={at}>
          {card.kind === 'call' && <CallCard call={card.call} unfolded={unfolded} />}
          {card.kind === 'move' && <MoveCard card={card} />}
          {card.kind === 'variables' && <VariablesCard card={card} before={before} />}
          {card.kind === 'note' && (
            <p className={join('px-1 text-list break-words', card.type === 'execution_error' ? 'text-bad' : 'text-muted')}>{card.text}</p>
          )}
        </li>
      ))}
    </ul>
  )
}

function CallCard({ call, unfolded }: { call: Call; unfolded: number }) {
  const [open, setOpen] = useState(false)
  useEffect(() => {
    if (unfolded > 0) setOpen(unfolded % 2 === 1)
  }, [unfolded])
  const error = call.result ? text(call.result.payload['error']) : ''
  const elapsed = call.result ? (Date.parse(call.result.created_at) - Date.parse(call.startedAt)) / 1000 : null
  return (
    <div className="rounded-sm border border-line bg-surface">
      <button
        type="button"
        aria-expanded={open}
        onClick={() => setOpen(!open)}
        className="target flex h-7 w-full items-center gap-1.5 rounded-sm px-1.5 text-left text-list hover:bg-hover"
      >
        {open ? <ChevronDown size={14} /> : <ChevronRight size={14} />}
        <Wrench size={13} className="shrink-0 text-muted" aria-hidden />
        <span className="min-w-0 flex-1 truncate font-mono text-code">
          {call.name}({signature(call.args)}){' '}
          {call.result ? (
            error ? (
              <span className="text-bad">✗ {brief(error)}</span>
            ) : (
              <span className="text-muted">→ {brief(call.result.payload['result'])}</span>
            )
          ) : (
            <span className="text-live">running</span>
          )}
        </span>
        {call.attempts > 1 && <Badge kind="warn">{call.attempts} attempts</Badge>}
        {elapsed !== null && <span className="shrink-0 text-meta text-faint">{duration(elapsed)}</span>}
      </button>
      {open && (
        <div className="flex flex-col gap-2 border-t border-line p-2 text-list">
          <p className="flex flex-wrap gap-x-2 text-meta text-muted">
            <Clock at={call.startedAt} />
            {call.result && elapsed !== null ? <span>answered after {duration(elapsed)}</span> : <span>not answered yet</span>}
            {call.id && <span className="font-mono break-all">{call.id}</span>}
          </p>
          {call.attempts > 1 && <Attempts call={call} />}
          <p className="text-meta text-muted">Arguments</p>
          <Json value={call.args} name={`${call.name}-arguments`} />
          {call.result && (
            <>
              <p className="text-meta text-muted">{error ? 'Error' : 'Result'}</p>
              <Json value={error || parsed(call.result.payload['result'])} name={`${call.name}-result`} />
            </>
          )}
        </div>
      )}
    </div>
  )
}

/** Every attempt by its time: those that failed, and the last, whose result counts. */
function Attempts({ call }: { call: Call }) {
  const lost = call.attempts - call.failed.length - 1
  const error = text(call.result?.payload['error'])
  return (
    <section aria-label="Attempts">
      <p className="text-meta text-muted">Attempts</p>
      <ol className="mt-0.5 flex flex-col gap-0.5">
        {call.failed.map((each) => (
          <li key={each.started_at} className="flex flex-wrap gap-x-2">
            <Clock at={each.started_at} />
            <span className="text-bad">
              ✗ {each.error.replaceAll('_', ' ')}
              {each.status !== null && ` ${each.status}`}
            </span>
            <span className="text-faint">{duration(each.seconds)}</span>
          </li>
        ))}
        {lost > 0 && <li className="text-muted">{plural(lost, 'attempt')} lost with a worker</li>}
        <li className="flex flex-wrap gap-x-2">
          {call.result && <Clock at={call.result.created_at} />}
          {error ? <span className="text-bad">✗ {error.replaceAll('_', ' ')}: given up</span> : <span className="text-ok">✓ answered</span>}
        </li>
      </ol>
    </section>
  )
}

/** Parses a result that is JSON in a string, unless it is large. */
function parsed(value: JsonValue | undefined): unknown {
  if (typeof value !== 'string' || value.length > 64_000 || !/^\s*[[{]/.test(value)) return value
  try {
    return JSON.parse(value)
  } catch {
    return value
  }
}

function MoveCard({ card }: { card: Extract<Card, { kind: 'move' }> }) {
  return (
    <div className="flex h-7 items-center gap-2" aria-label={`Moves to ${card.to}`}>
      <span className="h-px flex-1 bg-line" />
      <span className="rounded-full border border-line bg-surface px-2 text-meta text-muted">
        {card.from ? `${card.from} → ` : ''}
        <span className="font-medium text-text">{card.to}</span>
        {card.transition && ` · ${card.transition}`}
      </span>
      <span className="h-px flex-1 bg-line" />
    </div>
  )
}

function VariablesCard({ card, before }: { card: Extract<Card, { kind: 'variables' }>; before: JsonObject }) {
  if (card.error) return <p className="px-1 text-list text-bad">Variables could not be read: {card.error}</p>
  return (
    <p className="px-1 text-list break-words">
      {Object.entries(card.variables).map(([name, value]) => {
        const old = before[name]
        const changed = old !== undefined && old !== null && JSON.stringify(old) !== JSON.stringify(value)
        return (
          <span key={name} className="mr-3 inline-block">
            <span className="font-mono text-code text-muted">{name}</span> {changed && <span className="text-faint line-through">{brief(old, 40)}</span>}
            {changed && ' → '}
            <span className="font-medium">{brief(value, 60)}</span>
          </span>
        )
      })}
    </p>
  )
}
