/** One turn: its head, the user's message, its cards, the reply. */
import { ChevronLeft, ChevronRight, Clock3, GitBranch, GitFork, Link2, MoreHorizontal, Pencil, RotateCcw, Undo2 } from 'lucide-react'
import { createContext, lazy, memo, Suspense, useContext, useEffect, useRef, useState } from 'react'
import type { JsonObject, Turn } from '../api/types.ts'
import { usePreferences } from '../settings/preferences.ts'
import { amountOf, shown } from '../timeline/money.ts'
import { markedPieces } from '../timeline/quotes.ts'
import { revisionOf } from '../timeline/reduce.ts'
import { lostSince, replyOf, useSession, type SessionStore } from '../timeline/store.ts'
import { Button, IconButton, join, Menu, Tip } from '../ui/controls.tsx'
import { Badge, Clock, copy } from '../ui/states.tsx'
import { count, duration, hasLink, hasMarkdown, plural, spokenSeconds } from '../words.ts'
import { Cards } from './Cards.tsx'
import { useStopping, type Commands } from './commands.ts'

const Markdown = lazy(() => import('./Markdown.tsx'))

export interface RowContext {
  store: SessionStore
  commands: Commands
  /** Commands on turns are possible: the branch is active and the session has not ended. */
  mayAct: boolean
  ended: boolean
  editing: string | null
  edit: (turnId: string | null) => void
  select: (turnId: string) => void
  fork: (turnId: string) => void
  /** Switches to the sibling before or after a turn. */
  sibling: (turnId: string, step: number) => void
  familyOf: (turn: Turn) => { at: number; size: number }
  laterThan: (turnId: string) => { turns: number; cost: string }
  /** Variables as they stood before a turn. */
  variablesBefore: (turnId: string) => JsonObject
  /** Per turn how often its cards were unfolded or folded; odd means open. */
  unfolded: (turnId: string) => number
}

const NO_WORDS: readonly string[] = []

export const RowContext = createContext<RowContext | null>(null)

export function useRow(): RowContext {
  const context = useContext(RowContext)
  if (!context) throw new Error('a turn is shown outside of a conversation')
  return context
}

interface RowProps {
  turnId: string
  before: string | null
  position: number
  total: number
  selected: boolean
  quoted: boolean
  /** Words of this turn that a judge quotes. */
  quotes?: readonly string[] | undefined
  flash: boolean
}

export const TurnRow = memo(function TurnRow({ turnId, before, position, total, selected, quoted, quotes = NO_WORDS, flash }: RowProps) {
  const row = useRow()
  const turn = useSession(row.store, (state) => state.timeline.turns.get(turnId))
  const previous = useSession(row.store, (state) => (before === null ? undefined : state.timeline.turns.get(before)))
  if (!turn) return null
  const edge = turn.status === 'failed' ? 'border-l-2 border-bad' : turn.status === 'interrupted' ? 'border-l-2 border-dashed border-warn' : 'border-l-2 border-transparent'
  return (
    <article
      data-turn={turnId}
      data-selected={selected || undefined}
      aria-posinset={position}
      aria-setsize={total}
      aria-label={`Turn ${turn.index}`}
      tabIndex={selected ? 0 : -1}
      onClick={(event) => {
        if (getSelection()?.isCollapsed !== false && !(event.target as Element).closest('button,a,textarea,summary')) row.select(turnId)
      }}
      className={join('group/turn relative mx-auto max-w-[calc(72ch+48px)] px-3 py-2 sm:px-4', edge, selected && 'bg-accent-tint/60', flash && 'flash')}
    >
      <Head turn={turn} previous={previous} quoted={quoted} />
      {row.editing === turnId ? <EditBox turn={turn} /> : turn.user_message && <Caller text={turn.user_message.text} quotes={quotes} />}
      <Cards turn={turn} before={row.variablesBefore(turnId)} unfolded={row.unfolded(turnId)} />
      <Reply turn={turn} quotes={quotes} />
      {turn.status === 'failed' && <Failure turn={turn} />}
    </article>
  )
})

/** A text with the words that a judge quotes marked. */
function Words({ text, quotes }: { text: string; quotes: readonly string[] }) {
  if (quotes.length === 0) return text
  return markedPieces(text, quotes).map((piece, at) => (piece.marked ? <mark key={at}>{piece.text}</mark> : piece.text))
}

function Caller({ text, quotes }: { text: string; quotes: readonly string[] }) {
  return (
    <div className="mt-1 rounded-sm bg-sunken px-2 py-1">
      <span className="sr-only">Caller: </span>
      <p dir="auto" className="text-speech break-words whitespace-pre-wrap">
        <Words text={text} quotes={quotes} />
      </p>
    </div>
  )
}

function tokensOf(turn: Turn): { into: number; out: number } {
  const all = Object.values(turn.usage.llm)
  return {
    into: all.reduce((sum, each) => sum + (each.prompt_tokens ?? 0), 0),
    out: all.reduce((sum, each) => sum + (each.completion_tokens ?? 0), 0),
  }
}

function Head({ turn, previous, quoted }: { turn: Turn; previous: Turn | undefined; quoted: boolean }) {
  const { familyOf, sibling } = useRow()
  const family = familyOf(turn)
  const gap = previous ? (Date.parse(turn.created_at) - Date.parse(previous.created_at)) / 1000 : null
  const move = turn.events.filter((event) => event.type === 'node_transition').at(-1)
  const from = previous?.node_id ?? null
  const to = typeof move?.payload['to_node'] === 'string' ? move.payload['to_node'] : turn.node_id
  const tokens = tokensOf(turn)
  const first = turn.usage.first_word_seconds
  return (
    <header className="flex flex-wrap items-center gap-x-2 text-meta text-muted">
      <span className="font-medium text-text">#{turn.index}</span>
      {quoted && <Badge kind="warn">quoted by the judge</Badge>}
      {turn.imported && (
        <Tip label="Held elsewhere, and given to this session as its history: it cost nothing here">
          <span tabIndex={-1}>
            <Badge kind="plain">imported</Badge>
          </span>
        </Tip>
      )}
      <Clock at={turn.created_at} />
      {gap !== null && gap < 86_400 && <span className="text-faint">+{duration(gap)}</span>}
      {to && <span>{from && from !== to ? `${from} → ${to}` : to}</span>}
      {turn.status !== 'pending' && turn.usage.duration_seconds > 0 && (
        <span>
          {typeof first === 'number' && (
            <>
              first word <span className="text-text">{duration(first)}</span>, whole{' '}
            </>
          )}
          {duration(turn.usage.duration_seconds)}
        </span>
      )}
      {tokens.into > 0 && (
        <Tip label="Tokens read and written">
          <span tabIndex={-1}>
            {count(tokens.into)} in {count(tokens.out)} out
          </span>
        </Tip>
      )}
      {turn.status !== 'pending' && (
        <Tip label={costTip(turn)}>
          <span tabIndex={-1} className="text-money">
            {shown(amountOf(turn.cost))}
          </span>
        </Tip>
      )}
      {family.size > 1 && (
        <span className="inline-flex items-center">
          <IconButton label="Version before" action="previousSibling" disabled={family.at === 0} onClick={() => sibling(turn.id, -1)}>
            <ChevronLeft size={14} />
          </IconButton>
          <span aria-label={`Version ${family.at + 1} of ${family.size}`}>
            {family.at + 1} / {family.size}
          </span>
          <IconButton label="Version after" action="nextSibling" disabled={family.at === family.size - 1} onClick={() => sibling(turn.id, 1)}>
            <ChevronRight size={14} />
          </IconButton>
        </span>
      )}
      <span className="turn-actions inline-flex items-center">
        <Actions turn={turn} />
      </span>
    </header>
  )
}

const costTip = (turn: Turn): string =>
  turn.cost.unpriced_models.length > 0
    ? `The price of ${turn.cost.unpriced_models.join(', ')} is not known: it cost more than this.`
    : `$${turn.cost.total}`

function Actions({ turn }: { turn: Turn }) {
  const { commands, mayAct, ended, edit, fork } = useRow()
  // On a branch that is only viewed these buttons keep their place: the head wraps the same, and turns do not move.
  const isPlaceKept = !mayAct && !ended
  const kept = isPlaceKept ? 'invisible place-kept' : undefined
  const settled = turn.status !== 'pending'
  const words = [turn.user_message?.text, turn.assistant_message?.text].filter(Boolean).join('\n')
  return (
    <span className="on-hover inline-flex items-center">
      {(mayAct || isPlaceKept) && turn.user_message && (
        <IconButton className={kept} disabled={isPlaceKept} label="Edit and send again" action="edit" onClick={() => edit(turn.id)}>
          <Pencil size={14} />
        </IconButton>
      )}
      {(mayAct || isPlaceKept) && (
        <IconButton className={join('max-sm:hidden', kept)} disabled={isPlaceKept} label="Try again: answer anew, keep this one" action="tryAgain" onClick={() => void commands.tryAgain(turn.id)}>
          <RotateCcw size={14} />
        </IconButton>
      )}
      {(mayAct || isPlaceKept) && (
        <IconButton className={join('max-sm:hidden', kept)} disabled={isPlaceKept} label="Rewind to here: what follows is kept out of sight" action="rewindTo" onClick={() => void commands.rewind(turn.id)}>
          <Undo2 size={14} />
        </IconButton>
      )}
      <IconButton className="max-sm:hidden" label="Copy a link to this turn" action="copyLink" onClick={() => commands.copyLink(turn.id)}>
        <Link2 size={14} />
      </IconButton>
      <Menu
        trigger={
          <button
            type="button"
            aria-label="More for this turn"
            className="target inline-flex items-center justify-center rounded-sm text-muted hover:bg-hover"
          >
            <MoreHorizontal size={14} />
          </button>
        }
        entries={[
          ...(mayAct
            ? [
                { label: 'Try again', detail: 'Answers anew; this one becomes a branch', action: 'tryAgain' as const, icon: <RotateCcw size={14} />, run: () => void commands.tryAgain(turn.id) },
                { label: 'Rewind to here', detail: 'What follows is kept out of sight', action: 'rewindTo' as const, icon: <Undo2 size={14} />, run: () => void commands.rewind(turn.id) },
                {
                  label: 'Rewind to before this turn',
                  action: 'rewindBefore' as const,
                  icon: <Undo2 size={14} />,
                  run: () => void commands.rewind(turn.id, true),
                },
              ]
            : []),
          {
            label: 'Fork from this turn',
            detail: 'A new session; its past costs nothing again',
            action: 'fork' as const,
            icon: <GitFork size={14} />,
            disabled: !settled,
            run: () => fork(turn.id),
          },
          { label: 'Copy a link', action: 'copyLink' as const, icon: <Link2 size={14} />, run: () => commands.copyLink(turn.id) },
          { label: 'Copy the text', action: 'copyText' as const, run: () => void copy(words, 'Text copied') },
          { label: 'Copy the id', run: () => void copy(turn.id, 'Id copied') },
        ]}
      />
    </span>
  )
}

function Reply({ turn, quotes }: { turn: Turn; quotes: readonly string[] }) {
  const { store, commands } = useRow()
  const text = useSession(store, (state) => replyOf(state.timeline, turn))
  const markdown = usePreferences((state) => state.markdown)
  const stopping = useStopping((state) => state.sessions.has(store.getState().id))
  const clientTool = useSession(store, (state) => state.timeline.session?.client_calls?.find((call) => call.turn_id === turn.id)?.tool)
  const lostAt = useSession(store, lostSince)
  const approvalTool = useSession(store, (state) => state.timeline.session?.approvals?.find((approval) => approval.turn_id === turn.id)?.tool)
  const pending = turn.status === 'pending'
  if (!text && !pending) return null
  const formatted = !pending && hasMarkdown(text)
  return (
    <div className="mt-1 px-2">
      <span className="sr-only">Agent: </span>
      {markdown && formatted && quotes.length === 0 ? (
        <Suspense fallback={<Plain text={text} />}>
          <div className="prose text-speech break-words">
            <Markdown text={text} />
          </div>
        </Suspense>
      ) : (
        <Plain text={text} pending={pending} quotes={quotes} />
      )}
      {turn.status === 'interrupted' && (
        <p className="text-meta text-warn">▌ stopped after {duration(turn.usage.duration_seconds)}</p>
      )}
      <p className="flex flex-wrap items-center gap-2 text-meta text-faint">
        {pending ? (
          <>
            {lostAt === null ? <span className="spinner" aria-hidden /> : <Clock3 size={12} aria-hidden />}
            <Elapsed since={turn.created_at} until={lostAt} />
            {approvalTool && <span className="text-warn">waits for the approval of {approvalTool}</span>}
            {clientTool && <span className="text-live">waits for the result of {clientTool}</span>}
            <Button look="quiet" disabled={stopping} onClick={() => void commands.cancel()}>
              {stopping ? 'stopping …' : 'Stop'}
            </Button>
          </>
        ) : (
          <>
            <Tip label="About how long a voice takes to say it, at 150 words a minute">
              <span tabIndex={-1}>≈ {duration(spokenSeconds(text))} spoken</span>
            </Tip>
            {formatted && <span className="text-warn">has Markdown</span>}
            {hasLink(text) && <span className="text-warn">has a link</span>}
          </>
        )}
      </p>
    </div>
  )
}

function Plain({ text, pending = false, quotes = NO_WORDS }: { text: string; pending?: boolean; quotes?: readonly string[] }) {
  return (
    <p dir="auto" className={join('text-speech break-words whitespace-pre-wrap', pending && 'caret')}>
      <Words text={text} quotes={quotes} />
    </p>
  )
}

const elapsed = (seconds: number): string => (seconds < 90 ? `${Math.max(0, seconds).toFixed(1)} s` : duration(seconds))

/** Time since a reply began, written into the DOM without a render. It stops at `until`. */
function Elapsed({ since, until }: { since: string; until: number | null }) {
  const place = useRef<HTMLSpanElement>(null)
  useEffect(() => {
    const show = (): void => {
      if (place.current) place.current.textContent = elapsed(((until ?? Date.now()) - Date.parse(since)) / 1000)
    }
    show()
    if (until !== null) return
    const timer = setInterval(show, 100)
    return () => clearInterval(timer)
  }, [since, until])
  return <span ref={place} />
}

function Failure({ turn }: { turn: Turn }) {
  const { commands, mayAct, edit } = useRow()
  return (
    <div className="mt-1 rounded-sm bg-bad-tint px-2 py-1 text-list">
      <p className="break-words text-bad">{turn.error ?? 'The reply failed.'}</p>
      <p className="text-meta text-muted">It cost {shown(amountOf(turn.cost))}.</p>
      {mayAct && (
        <div className="mt-1 flex gap-2">
          <Button onClick={() => void commands.tryAgain(turn.id)}>Try again</Button>
          {turn.user_message && <Button onClick={() => edit(turn.id)}>Edit and send</Button>}
        </div>
      )}
    </div>
  )
}

/** Editing happens in the place of the turn; the composer's draft is not touched. */
function EditBox({ turn }: { turn: Turn }) {
  const { store, commands, edit, laterThan } = useRow()
  const [seen] = useState(() => revisionOf(store.getState().timeline))
  const [text, setText] = useState(turn.user_message?.text ?? '')
  const field = useRef<HTMLTextAreaElement>(null)
  useEffect(() => {
    field.current?.focus({ preventScroll: true })
    field.current?.select()
  }, [])
  const later = laterThan(turn.id)
  const close = (): void => {
    edit(null)
    requestAnimationFrame(() => document.querySelector<HTMLElement>(`[data-turn="${turn.id}"]`)?.focus({ preventScroll: true }))
  }
  const send = (): void => {
    if (!text.trim()) return
    void commands.edit(turn.id, text, seen).then((done) => {
      if (done) edit(null)
    })
  }
  return (
    <div className="mt-1 rounded-sm border border-accent bg-surface p-2">
      <textarea
        ref={field}
        aria-label={`Edit turn ${turn.index}`}
        value={text}
        onChange={(event) => setText(event.target.value)}
        onKeyDown={(event) => {
          if (event.nativeEvent.isComposing || event.keyCode === 229) return
          if (event.key === 'Escape') {
            event.preventDefault()
            close()
          } else if (event.key === 'Enter' && (event.metaKey || event.ctrlKey)) {
            event.preventDefault()
            send()
          }
        }}
        className="field field-sizing-content max-h-48 w-full resize-none text-speech"
      />
      <div className="mt-1 flex flex-wrap items-center gap-2">
        <p className="flex-1 text-meta text-muted">
          <GitBranch size={12} className="mr-1 inline" aria-hidden />
          Sends again from here. {later.turns > 0 ? `This and ${plural(later.turns, 'later turn')}` : 'This turn'} ({later.cost}) become a
          branch.
        </p>
        <Button look="quiet" onClick={close}>
          Cancel
        </Button>
        <Button look="main" onClick={send} disabled={!text.trim()}>
          Send again
        </Button>
      </div>
    </div>
  )
}
