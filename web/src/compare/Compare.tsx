/** Two branches or sessions beside each other: the turns they share, then turn by turn. Both may still be live. */
import { useVirtualizer } from '@tanstack/react-virtual'
import { getRouteApi, Link } from '@tanstack/react-router'
import { diffWordsWithSpace } from 'diff'
import { ChevronLeft, ChevronRight } from 'lucide-react'
import { useEffect, useMemo, useRef, useState } from 'react'
import type { Turn } from '../api/types.ts'
import { cardsOf } from '../conversation/Cards.tsx'
import { useView } from '../conversation/view.ts'
import { useKeys } from '../keys.ts'
import { useRuns } from '../suites/runs.ts'
import { align, type Pair } from '../timeline/align.ts'
import { wilson } from '../timeline/interval.ts'
import { add, type Amount, amountOf, fixed, NOTHING, placesOf } from '../timeline/money.ts'
import { replyOf, useSession, useSessionStore, type SessionStore } from '../timeline/store.ts'
import { Button, IconButton, join } from '../ui/controls.tsx'
import { Money } from '../ui/Money.tsx'
import { Badge, CopyButton, Empty, Loading, Missing, StatusShape, useTitle } from '../ui/states.tsx'
import { count, duration, plural, STATUS } from '../words.ts'

const route = getRouteApi('/compare')

interface Side {
  session: string
  branch: string | undefined
}

/** `ses_x@active`, `ses_x@br_y`, or only the session. */
export function sideOf(text: string | undefined): Side | null {
  if (!text) return null
  const [session = '', branch = 'active'] = text.split('@')
  return session ? { session, branch: branch === 'active' ? undefined : branch } : null
}

export function Compare() {
  useTitle('Compare')
  const search = route.useSearch()
  const left = sideOf(search.a)
  const right = sideOf(search.b)
  if (search.suite && left) return <Replays left={left} />
  if (!left || !right)
    return (
      <main id="main" className="flex-1">
        <h1 className="sr-only">Compare</h1>
        <Empty title="Nothing to compare yet">
          <p>Mark two lanes in the branches of a session, and press Enter.</p>
          <Link to="/sessions" search={{}} className="target inline-flex items-center text-accent underline">
            To the sessions
          </Link>
        </Empty>
      </main>
    )
  return <Sides left={left} right={right} />
}

/** The failed run at the left, its replays at the right, verdicts as they arrive. */
function Replays({ left }: { left: Side }) {
  const { suite = '', b, was } = route.useSearch()
  const navigate = route.useNavigate()
  const { suite: found, runs } = useRuns(suite)
  const begun = runs.filter((run) => run.session_id !== null)
  const at = Math.max(0, begun.findIndex((run) => run.session_id === sideOf(b)?.session))
  const run = begun[at]
  const passed = runs.filter((each) => each.outcome === 'passed').length
  const decided = runs.filter((each) => each.outcome === 'passed' || each.outcome === 'failed').length
  const range = wilson(passed, decided)
  const go = (index: number): void => {
    const next = begun[index]?.session_id
    if (next) void navigate({ search: (before) => ({ ...before, b: `${next}@active` }), replace: true })
  }
  const verdict = (
    <div role="status" className="flex flex-wrap items-center gap-2 border-b border-line bg-surface px-4 py-2 text-list">
      <span className="flex items-center gap-1">
        was <StatusShape status={was ?? 'failed'} />
      </span>
      <span>
        now <strong className="font-semibold">{passed}</strong> of {decided || plural(runs.length, 'replay')} passed
        {range && decided > 0 && (
          <span className="text-muted">
            {' '}
            (95 %: {range.low.toFixed(2)}–{range.high.toFixed(2)})
          </span>
        )}
      </span>
      <span className="flex items-center gap-1" aria-label="Replays">
        {runs.map((each, index) => (
          <button
            key={`${each.scenario} ${each.repeat}`}
            type="button"
            disabled={each.session_id === null}
            aria-current={each === run || undefined}
            aria-label={`Replay ${index + 1}: ${STATUS[each.outcome ?? ''] ?? each.state}`}
            onClick={() => go(begun.indexOf(each))}
            className={join('inline-flex size-6 items-center justify-center rounded-sm border', each === run ? 'border-accent bg-accent-tint' : 'border-line')}
          >
            <StatusShape status={each.outcome ?? each.state} />
          </button>
        ))}
      </span>
      <span className="flex items-center">
        <IconButton label="Replay before" disabled={at === 0} onClick={() => go(at - 1)}>
          <ChevronLeft size={14} />
        </IconButton>
        {begun.length === 0 ? 0 : at + 1} / {runs.length}
        <IconButton label="Next replay" disabled={at >= begun.length - 1} onClick={() => go(at + 1)}>
          <ChevronRight size={14} />
        </IconButton>
      </span>
      {found && (
        <Link to="/suites/$id" params={{ id: suite }} search={{}} className="text-accent hover:underline">
          {found.name}
        </Link>
      )}
      {run?.criteria.some((each) => each.outcome !== 'passed') && (
        <span className="w-full text-muted">{run.criteria.find((each) => each.outcome !== 'passed')?.reason}</span>
      )}
    </div>
  )
  if (!run?.session_id)
    return (
      <main id="main" className="flex min-h-0 flex-1 flex-col">
        {verdict}
        <Empty title="The replays are starting" />
      </main>
    )
  return <Sides key={run.session_id} left={left} right={{ session: run.session_id, branch: undefined }} above={verdict} />
}

interface Totals {
  turns: number
  cost: Amount
  seconds: number
  tokens: number
}

const tokensOf = (turn: Turn): number => Object.values(turn.usage.llm).reduce((all, each) => all + (each.total_tokens ?? 0), 0)

const totalsOf = (turns: readonly Turn[]): Totals => ({
  turns: turns.length,
  cost: add(NOTHING, ...turns.map((turn) => amountOf(turn.cost))),
  seconds: turns.reduce((sum, turn) => sum + turn.usage.duration_seconds, 0),
  tokens: turns.reduce((sum, turn) => sum + tokensOf(turn), 0),
})

function Sides({ left, right, above }: { left: Side; right: Side; above?: React.ReactNode }) {
  const search = route.useSearch()
  const navigate = route.useNavigate()
  const one = useSessionStore(left.session)
  const other = useSessionStore(right.session)
  const a = useSide(one, left)
  const b = useSide(other, right)
  const words = search.diff !== 'none'
  const together = search.sync !== false
  const set = (change: Partial<typeof search>): void => void navigate({ search: (before) => ({ ...before, ...change }), replace: true })
  useKeys({
    wordDifference: () => set({ diff: words ? 'none' : 'words' }),
    scrollTogether: () => set({ sync: !together }),
  })
  const { common, pairs } = useMemo(() => align(a.turns, b.turns), [a.turns, b.turns])
  const [commonOpen, setCommonOpen] = useState(false)
  const rows = useMemo<Pair[]>(() => (commonOpen ? [...common.map((turn) => ({ a: turn, b: turn })), ...pairs] : [...pairs]), [common, pairs, commonOpen])
  const sums = { a: totalsOf(pairs.flatMap((pair) => pair.a ?? [])), b: totalsOf(pairs.flatMap((pair) => pair.b ?? [])) }
  const places = placesOf([sums.a.cost.value, sums.b.cost.value])

  if (a.problem || b.problem)
    return (
      <main id="main" className="flex-1">
        <h1 className="sr-only">Compare</h1>
        <Missing error={a.problem ?? b.problem} what={a.problem ? 'left session' : 'right session'}>
          <Link to="/sessions" search={{}} className="text-accent underline">
            To the sessions
          </Link>
        </Missing>
      </main>
    )
  const ready = a.ready && b.ready
  return (
    <main id="main" className="flex min-h-0 flex-1 flex-col">
      <header className="flex min-h-11 flex-wrap items-center gap-x-3 border-b border-line px-4">
        <h1 className="font-semibold">Compare</h1>
        <span className="flex-1" />
        <label className="target flex items-center gap-1 text-list">
          <input type="checkbox" checked={words} onChange={() => set({ diff: words ? 'none' : 'words' })} /> Differing words
        </label>
        <label className="target flex items-center gap-1 text-list max-sm:hidden">
          <input type="checkbox" checked={together} onChange={() => set({ sync: !together })} /> Scroll together
        </label>
        <CopyButton label="Copy a link" text={window.location.href} />
      </header>
      {above}
      <div className="grid grid-cols-2 border-b border-line bg-surface">
        <SideHead side={left} store={one} totals={sums.a} places={places} />
        <SideHead side={right} store={other} totals={sums.b} against={sums.a} places={places} right />
      </div>
      {!ready ? (
        <Loading rows={4} height={90} />
      ) : (
        <>
          <div className="border-b border-line px-4 py-1 text-center">
            <Button look="quiet" aria-expanded={commonOpen} onClick={() => setCommonOpen(!commonOpen)}>
              {commonOpen ? '▾' : '▸'} {plural(common.length, 'turn')} in common
            </Button>
          </div>
          {pairs.length === 0 && !commonOpen && <Empty title="Both sides are the same so far" />}
          {together ? (
            <Pairs rows={rows} words={words} stores={[one, other]} sides="both" chosen={search.turn} select={(turn) => set({ turn })} />
          ) : (
            <div className="grid min-h-0 flex-1 grid-cols-2">
              <Pairs rows={rows} words={words} stores={[one, other]} sides="a" chosen={search.turn} select={(turn) => set({ turn })} />
              <Pairs rows={rows} words={words} stores={[one, other]} sides="b" chosen={search.turn} select={(turn) => set({ turn })} />
            </div>
          )}
        </>
      )}
    </main>
  )
}

function useSide(store: SessionStore, side: Side) {
  const view = useView(store, side.branch)
  const turns = useSession(store, (state) => state.timeline.turns)
  const problem = useSession(store, (state) => (state.timeline.session ? null : state.problem))
  const loaded = useSession(store, (state) => state.timeline.session !== null)
  const list = useMemo(() => view.path.flatMap((id) => turns.get(id) ?? []), [view.path, turns])
  // Both sides must be loaded whole to find where they diverge.
  const first = list[0]
  useEffect(() => {
    if (first && first.index > 0) void store.actions.loadOlder()
  }, [store, first])
  return { turns: list, ready: loaded && view.state !== 'loading', problem }
}

interface SideHeadProps {
  side: Side
  store: SessionStore
  totals: Totals
  against?: Totals
  /** Decimals of the amounts of both sides. */
  places: number
  right?: boolean
}

function SideHead({ side, store, totals, against, places, right = false }: SideHeadProps) {
  const session = useSession(store, (state) => state.timeline.session)
  const { runs } = useRuns(session?.suite_id ?? '')
  const run = runs.find((each) => each.session_id === side.session)
  const cause = run?.criteria.find((each) => each.outcome !== 'passed')?.reason ?? run?.findings[0]?.message
  return (
    <section aria-label={right ? 'Right side' : 'Left side'} className={join('min-w-0 px-4 py-2 text-list', right && 'border-l border-line')}>
      <h2 className="flex items-center gap-2">
        {session && <StatusShape status={session.status} />}
        <Link to="/sessions/$id" params={{ id: side.session }} search={side.branch ? { branch: side.branch } : {}} className="target min-w-0 content-center truncate font-medium hover:underline">
          {session?.name ?? side.session}
        </Link>
        <Badge kind={side.branch ? 'plain' : 'accent'}>{side.branch ? 'discarded' : 'active'}</Badge>
        {session && <span className="text-meta text-muted max-sm:hidden">v{session.agent_version}</span>}
      </h2>
      {run?.outcome && (
        <p className="flex items-center gap-1" title={cause}>
          <StatusShape status={run.outcome} /> <span className="font-medium">{STATUS[run.outcome]}</span>
          {cause && <span className="min-w-0 truncate text-muted">{cause}</span>}
        </p>
      )}
      <p className="flex flex-wrap gap-x-3 text-meta text-muted">
        <span>{plural(totals.turns, 'turn')}</span>
        <span>{duration(totals.seconds)}</span>
        <span>{count(totals.tokens)} tokens</span>
        <span className="text-money">
          <Money amount={totals.cost} places={places} />
          {against && totals.cost.value !== against.cost.value && ` (${totals.cost.value > against.cost.value ? '+' : ''}${fixed(totals.cost.value - against.cost.value, places)})`}
        </span>
      </p>
    </section>
  )
}

interface PairsProps {
  rows: readonly Pair[]
  words: boolean
  stores: readonly [SessionStore, SessionStore]
  sides: 'a' | 'b' | 'both'
  chosen: string | undefined
  select: (turn: string) => void
}

function Pairs({ rows, words, stores, sides, chosen, select }: PairsProps) {
  const scroller = useRef<HTMLDivElement>(null)
  const virtualizer = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => 150,
    getItemKey: (at) => `${rows[at]?.a?.id} ${rows[at]?.b?.id}`,
    overscan: 6,
  })
  const landed = useRef(false)
  useEffect(() => {
    if (landed.current || !chosen) return
    const at = rows.findIndex((pair) => pair.a?.id === chosen || pair.b?.id === chosen)
    if (at === -1) return
    landed.current = true
    virtualizer.scrollToIndex(at, { align: 'start' })
  }, [rows, chosen, virtualizer])
  return (
    <div ref={scroller} role="group" aria-label={sides === 'both' ? 'Turns of both sides' : sides === 'a' ? 'Turns of the left side' : 'Turns of the right side'} tabIndex={0} className={join('min-h-0 flex-1 overflow-auto', sides === 'b' && 'border-l border-line')}>
      <ol className="relative" style={{ height: virtualizer.getTotalSize() }}>
        {virtualizer.getVirtualItems().map((virtual) => {
          const pair = rows[virtual.index]
          if (!pair) return null
          return (
            <li
              key={virtual.key}
              ref={virtualizer.measureElement}
              data-index={virtual.index}
              className={join('absolute top-0 left-0 grid w-full border-b border-line', sides === 'both' ? 'grid-cols-2' : 'grid-cols-1')}
              style={{ transform: `translateY(${virtual.start}px)` }}
            >
              {sides !== 'b' && <Cell turn={pair.a} other={pair.b} store={stores[0]} words={words} side="a" chosen={chosen} select={select} />}
              {sides !== 'a' && <Cell turn={pair.b} other={pair.a} store={stores[1]} words={words} side="b" chosen={chosen} select={select} line={sides === 'both'} />}
            </li>
          )
        })}
      </ol>
    </div>
  )
}

interface CellProps {
  turn: Turn | null
  other: Turn | null
  store: SessionStore
  words: boolean
  side: 'a' | 'b'
  chosen: string | undefined
  select: (turn: string) => void
  line?: boolean
}

function Cell({ turn, other, store, words, side, chosen, select, line = false }: CellProps) {
  const reply = useSession(store, (state) => (turn ? replyOf(state.timeline, turn) : ''))
  if (!turn) return (
      <div className={join('bg-sunken', line && 'border-l border-line')}>
        <span className="sr-only">No turn on this side</span>
      </div>
    )
  const cards = cardsOf(turn)
  return (
    <article
      aria-label={`Turn ${turn.index}`}
      className={join('min-w-0 px-4 py-2', line && 'border-l border-line', turn.id === chosen && 'bg-accent-tint')}
      onClick={() => getSelection()?.isCollapsed !== false && select(turn.id)}
    >
      <header className="flex flex-wrap gap-x-2 text-meta text-muted">
        <span className="font-medium text-text">#{turn.index}</span>
        {turn.node_id && <span className={turn.node_id !== other?.node_id && other ? 'text-warn' : ''}>{turn.node_id}</span>}
        {turn.status !== 'completed' && <Badge kind={turn.status === 'pending' ? 'live' : 'warn'}>{STATUS[turn.status]}</Badge>}
        {typeof turn.usage.first_word_seconds === 'number' && <span>first word {duration(turn.usage.first_word_seconds)}</span>}
        {turn.status !== 'pending' && <span>{duration(turn.usage.duration_seconds)}</span>}
        {tokensOf(turn) > 0 && <span>{count(tokensOf(turn))} tokens</span>}
        <Money amount={amountOf(turn.cost)} />
      </header>
      {turn.user_message && (
        <p dir="auto" className="mt-1 rounded-sm bg-sunken px-2 py-1 break-words whitespace-pre-wrap">
          <Differing text={turn.user_message.text} other={words ? other?.user_message?.text : undefined} side={side} />
        </p>
      )}
      {cards.length > 0 && (
        <ul className="mt-1 text-meta text-muted">
          {cards.map((card, at) => (
            <li key={at} className="truncate">
              {card.kind === 'call' && `⚒ ${card.call.name}(${JSON.stringify(card.call.args)})`}
              {card.kind === 'move' && `→ ${card.to}`}
              {card.kind === 'variables' &&
                Object.entries(card.variables)
                  .map(([name, value]) => `${name} ${JSON.stringify(value)}`)
                  .join(', ')}
              {card.kind === 'note' && card.text}
            </li>
          ))}
        </ul>
      )}
      <p dir="auto" className={join('mt-1 px-2 break-words whitespace-pre-wrap', turn.status === 'pending' && 'caret')}>
        <Differing text={reply} other={words && turn.status !== 'pending' && other?.status !== 'pending' ? other?.assistant_message?.text : undefined} side={side} />
      </p>
      {turn.error && <p className="text-list text-bad">{turn.error}</p>}
    </article>
  )
}

/** The text of one side in runs; a space between two differing words belongs to them. */
function runsOf(parts: readonly { value: string; added?: boolean; removed?: boolean }[], side: 'a' | 'b'): { own: boolean; value: string }[] {
  const shown = parts
    .filter((part) => !(side === 'a' ? part.added : part.removed))
    .map((part) => ({ own: Boolean(side === 'a' ? part.removed : part.added), value: part.value }))
  const runs: { own: boolean; value: string }[] = []
  shown.forEach(({ own, value }, at) => {
    const between = !own && value.trim() === '' && Boolean(shown[at - 1]?.own && shown[at + 1]?.own)
    const before = runs.at(-1)
    if (before && before.own === (own || between)) before.value += value
    else runs.push({ own: own || between, value })
  })
  return runs
}

/** Words that the other side does not have are marked: underlined as well as coloured. */
function Differing({ text, other, side }: { text: string; other: string | undefined; side: 'a' | 'b' }) {
  const parts = useMemo(
    () => (other === undefined || other === text || text.length + other.length > 20_000 ? null : side === 'a' ? diffWordsWithSpace(text, other) : diffWordsWithSpace(other, text)),
    [text, other, side],
  )
  if (!parts) return text
  return runsOf(parts, side).map(({ own, value }, at) =>
    own ? (
      <mark key={at} className={side === 'a' ? 'bg-bad-tint text-text outline-0 decoration-bad underline' : 'bg-ok-tint text-text outline-0 decoration-ok underline'}>
        {value}
      </mark>
    ) : (
      <span key={at}>{value}</span>
    ),
  )
}
