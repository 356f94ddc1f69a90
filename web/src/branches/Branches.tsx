/** The tree of a session: lanes with what they cost. The active branch is always the first lane. */
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router'
import { useVirtualizer } from '@tanstack/react-virtual'
import { useEffect, useMemo, useRef, useState } from 'react'
import { useCommands } from '../conversation/commands.ts'
import { useKeys } from '../keys.ts'
import { amountOf, add, NOTHING, placesOf, shown } from '../timeline/money.ts'
import { children } from '../timeline/siblings.ts'
import { useSession, useSessionStore, type SessionStore } from '../timeline/store.ts'
import { layout, type Run, type TreeNode } from '../timeline/tree.ts'
import { Button, join } from '../ui/controls.tsx'
import { Money } from '../ui/Money.tsx'
import { Badge, Clock, Empty, Loading, Missing, StatusShape, useTitle } from '../ui/states.tsx'
import { plural } from '../words.ts'

const route = getRouteApi('/sessions/$id/branches')
const LANE = 18
const ROW = 40
const BRANCHES_SHOWN = 30

interface ShortTurn extends TreeNode {
  text: string
  node: string | null
  status: string
}

function useShortTurns(store: SessionStore): ShortTurn[] {
  const turns = useSession(store, (state) => state.timeline.turns)
  const tree = useSession(store, (state) => state.tree)
  return useMemo(() => {
    const found = new Map<string, ShortTurn>()
    for (const turn of tree ?? [])
      found.set(turn.id, { ...turn, amount: turn.copied ? NOTHING : amountOf(turn.cost), node: turn.node_id, text: turn.text })
    for (const turn of turns.values())
      found.set(turn.id, {
        ...turn,
        amount: amountOf(turn.cost),
        node: turn.node_id,
        text: (turn.user_message?.text ?? turn.assistant_message?.text ?? '').slice(0, 80),
      })
    return [...found.values()]
  }, [turns, tree])
}

export function Branches() {
  const { id } = route.useParams()
  return <Tree key={id} id={id} />
}

function Tree({ id }: { id: string }) {
  const { turn: chosen } = route.useSearch()
  const navigate = useNavigate()
  const store = useSessionStore(id)
  const commands = useCommands(store)
  const timeline = useSession(store, (state) => state.timeline)
  const problem = useSession(store, (state) => state.problem)
  const tree = useSession(store, (state) => state.tree)
  const logWhole = useSession(store, (state) => state.logWhole)
  const nodes = useShortTurns(store)
  const [all, setAll] = useState(false)
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set())
  const [marked, setMarked] = useState<readonly string[]>([])
  const [at, setAt] = useState(0)
  const known = timeline.session !== null && (timeline.seq > 0 || timeline.ended)
  useTitle(`Branches of ${timeline.session?.name ?? id}`)
  useEffect(() => {
    if (known) void store.actions.loadTree()
  }, [store, known])
  useEffect(() => {
    // The event log has the turns that a rewind hides.
    if (known && !timeline.hiddenKnown) void store.actions.readLog()
  }, [store, known, timeline.hiddenKnown])

  const active = useMemo(() => new Set([...timeline.visible, ...timeline.hidden]), [timeline.visible, timeline.hidden])
  const hidden = useMemo(() => new Set(timeline.hidden), [timeline.hidden])

  /** The newest branches; older ones fold into one line that says what they cost. */
  const { kept, folded } = useMemo(() => {
    const byParent = children(nodes)
    const leaves = nodes.filter((node) => !byParent.has(node.id) && !active.has(node.id)).sort((a, b) => (a.created_at < b.created_at ? 1 : -1))
    if (all || leaves.length <= BRANCHES_SHOWN) return { kept: nodes, folded: null }
    const byId = new Map(nodes.map((node) => [node.id, node]))
    const shownIds = new Set(active)
    for (const leaf of leaves.slice(0, BRANCHES_SHOWN))
      for (let each: ShortTurn | undefined = leaf; each && !shownIds.has(each.id); each = byId.get(each.parent_id ?? '')) shownIds.add(each.id)
    const rest = nodes.filter((node) => !shownIds.has(node.id))
    return {
      kept: nodes.filter((node) => shownIds.has(node.id)),
      folded: { branches: leaves.length - BRANCHES_SHOWN, cost: add(NOTHING, ...rest.map((node) => node.amount)) },
    }
  }, [nodes, active, all])

  const leaf = timeline.leaf ?? timeline.visible.at(-1) ?? null
  const rows = useMemo(() => layout(kept, leaf), [kept, leaf])
  const byId = useMemo(() => new Map(nodes.map((node) => [node.id, node])), [nodes])
  const places = useMemo(() => placesOf([...rows.map((row) => row.amount.value), ...nodes.map((node) => node.amount.value)]), [rows, nodes])
  const lanes = Math.max(1, ...rows.map((row) => row.lane + 1))
  const scroller = useRef<HTMLDivElement>(null)
  const virtualizer = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: (index) => ROW + (open.has(rows[index]?.id ?? '') ? (rows[index]?.turns.length ?? 0) * 28 : 0),
    getItemKey: (index) => rows[index]?.id ?? index,
    overscan: 12,
  })
  useEffect(() => virtualizer.measure(), [virtualizer, open, rows])

  const branchOf = (row: Run): string | null => (row.leaf === null || row.active ? null : `br_${row.leaf.replace(/^turn_/, '')}`)
  const sideOf = (row: Run): string => `${id}@${row.active ? 'active' : (branchOf(row) ?? `br_${leafOf(rows, row).replace(/^turn_/, '')}`)}`
  const mark = (row: Run): void =>
    setMarked((before) => {
      const side = sideOf(row)
      return before.includes(side) ? before.filter((each) => each !== side) : [...before, side].slice(-2)
    })
  const compare = (): void => {
    const [a, b] = marked.length === 2 ? marked : [sideOf(rows[at] as Run), `${id}@active`]
    if (a && b && a !== b) void navigate({ to: '/compare', search: { a, b } })
  }
  const restore = (row: Run | undefined): void => {
    const branch = row && branchOf(row)
    if (branch && !timeline.ended) void commands.restore(branch)
  }
  const move = (index: number): void => {
    const next = Math.min(rows.length - 1, Math.max(0, index))
    setAt(next)
    virtualizer.scrollToIndex(next)
    requestAnimationFrame(() => scroller.current?.querySelector<HTMLElement>(`[data-row="${next}"]`)?.focus({ preventScroll: true }))
  }
  const toggle = (row: Run, wanted?: boolean): void =>
    setOpen((before) => {
      const next = new Set(before)
      if (wanted ?? !next.has(row.id)) next.add(row.id)
      else next.delete(row.id)
      return next
    })
  useKeys({ makeActive: () => restore(rows[at]), compare })

  if (problem && !timeline.session)
    return (
      <Missing error={problem} what="session" retry={() => store.actions.retry()}>
        <Link to="/sessions" search={{}} className="text-accent underline">
          To the sessions
        </Link>
      </Missing>
    )
  if (!timeline.session || (tree === null && !logWhole)) return <Loading rows={8} height={28} />
  const lost = nodes.length === 0
  const total = amountOf(timeline.session.cost)
  return (
    <section aria-label="Branches" className="flex min-h-0 flex-1 flex-col">
      <header className="flex min-h-11 flex-wrap items-center gap-x-2 gap-y-1 border-b border-line px-4 py-1">
        <h1 className="font-semibold">Branches</h1>
        <Link to="/sessions/$id" params={{ id }} search={{}} className="target inline-flex items-center text-list text-accent hover:underline">
          {timeline.session.name}
        </Link>
        <span className="flex-1 text-list text-muted max-sm:order-last max-sm:basis-full">
          {plural(timeline.discarded.length, 'discarded branch', 'discarded branches')} · <Money amount={total} /> spent
        </span>
        <Button disabled={marked.length !== 2} onClick={compare}>
          Compare {marked.length === 2 ? 'both' : `(${marked.length} of 2 marked)`}
        </Button>
      </header>
      {folded && (
        <Button look="quiet" className="m-2 self-start" onClick={() => setAll(true)}>
          {folded.branches} more · {shown(folded.cost)}
        </Button>
      )}
      {lost ? (
        <Empty title="Nothing was said yet" />
      ) : (
        <div ref={scroller} className="min-h-0 flex-1 overflow-auto">
          <div role="treegrid" aria-label="Branches of the conversation" aria-rowcount={rows.length} className="relative" style={{ height: virtualizer.getTotalSize() }}>
            {virtualizer.getVirtualItems().map((virtual) => {
              const row = rows[virtual.index]
              if (!row) return null
              const first = byId.get(row.turns[0] ?? '')
              const last = byId.get(row.turns.at(-1) ?? '')
              const branch = timeline.discarded.find((each) => each.leaf === row.leaf)
              const isOpen = open.has(row.id)
              const isMarked = marked.includes(sideOf(row))
              const isHidden = row.turns.every((each) => hidden.has(each))
              return (
                <div
                  key={row.id}
                  role="row"
                  data-row={virtual.index}
                  aria-level={row.lane + 1}
                  aria-expanded={isOpen}
                  aria-selected={isMarked}
                  aria-rowindex={virtual.index + 1}
                  tabIndex={virtual.index === at ? 0 : -1}
                  onFocus={() => setAt(virtual.index)}
                  onKeyDown={(event) => {
                    if (event.target !== event.currentTarget) return
                    const keys: Record<string, () => void> = {
                      ArrowDown: () => move(virtual.index + 1),
                      ArrowUp: () => move(virtual.index - 1),
                      Home: () => move(0),
                      End: () => move(rows.length - 1),
                      ArrowRight: () => toggle(row, true),
                      ArrowLeft: () => toggle(row, false),
                      ' ': () => mark(row),
                      Enter: compare,
                    }
                    const run = keys[event.key]
                    if (!run) return
                    event.preventDefault()
                    event.stopPropagation()
                    run()
                  }}
                  className={join('group absolute top-0 left-0 flex w-full hover:bg-hover', isMarked && 'bg-accent-tint', chosen && row.turns.includes(chosen) && 'bg-live-tint')}
                  style={{ transform: `translateY(${virtual.start}px)`, height: virtual.size }}
                >
                  <Lanes row={row} lanes={lanes} height={virtual.size} hidden={isHidden} last={rows[virtual.index + 1]} />
                  <div role="gridcell" className="min-w-0 flex-1 pr-4">
                    <div className="flex h-10 items-center gap-2 text-list">
                      <button type="button" tabIndex={-1} onClick={() => toggle(row)} className="target min-w-14 rounded-sm px-1 text-left font-medium hover:underline">
                        {row.turns.length > 1 ? `#${row.firstIndex}–#${row.lastIndex}` : `#${row.firstIndex}`}
                      </button>
                      {(last?.status === 'failed' || last?.status === 'interrupted') && <StatusShape status={last.status} />}
                      <Link
                        to="/sessions/$id"
                        params={{ id }}
                        search={{ turn: row.turns[0], ...(isHidden ? { branch: 'hidden' } : row.active ? {} : { branch: sideOf(row).split('@')[1] }) }}
                        tabIndex={-1}
                        className="target min-w-11 flex-1 content-center truncate hover:underline"
                      >
                        {first?.text || '(the greeting)'}
                      </Link>
                      {isHidden && <Badge kind="warn">out of sight</Badge>}
                      {row.active && row.leaf !== null && !isHidden && <Badge kind="accent">active</Badge>}
                      {branch && (
                        <span className="text-meta text-muted max-sm:hidden">
                          discarded <Clock at={branch.at} short />
                        </span>
                      )}
                      {row.below && (
                        <span className="text-meta text-faint max-sm:hidden">
                          split: <Money amount={row.below} places={places} />
                        </span>
                      )}
                      <Money amount={row.amount} places={places} className="min-w-14 text-right sm:min-w-20" />
                      <span className="flex w-24 justify-end gap-1 max-sm:hidden">
                        {branchOf(row) && !timeline.ended && (
                          <Button look="quiet" tabIndex={-1} className="on-hover text-meta" onClick={() => restore(row)}>
                            Make active
                          </Button>
                        )}
                      </span>
                      <label className="target inline-flex items-center justify-center">
                        <input type="checkbox" tabIndex={-1} aria-label={`Mark #${row.firstIndex} to compare`} checked={isMarked} onChange={() => mark(row)} />
                      </label>
                    </div>
                    {isOpen && (
                      <ol>
                        {row.turns.map((each) => (
                          <li key={each} className="flex h-7 items-center gap-2 pl-1 text-list text-muted">
                            <span className="w-13">#{byId.get(each)?.index}</span>
                            <span className="min-w-0 flex-1 truncate">{byId.get(each)?.text}</span>
                            <span className="text-meta">{byId.get(each)?.node}</span>
                            <Money amount={byId.get(each)?.amount ?? NOTHING} places={places} className="min-w-14 text-right sm:min-w-20" />
                            {/* Room for the controls after the amount of a lane, so that all amounts align. */}
                            <span className="w-24 max-sm:hidden" />
                            <span className="target" />
                          </li>
                        ))}
                      </ol>
                    )}
                  </div>
                </div>
              )
            })}
          </div>
        </div>
      )}
      <p className="border-t border-line px-4 py-1 text-meta text-muted max-sm:hidden">
        Arrows move and unfold · Space marks · Enter compares · a makes active. The sums of all lanes are what the turns cost.
      </p>
    </section>
  )
}

/** The leaf below a run, by the last child at each split. */
function leafOf(rows: readonly Run[], row: Run): string {
  let at: Run | undefined = row
  while (at && at.leaf === null) {
    const last: string | undefined = at.turns.at(-1)
    const next: Run | undefined = [...rows].reverse().find((each) => each.parent === at?.id && each.id !== at?.id)
    if (!next || !last) break
    at = next
  }
  return at?.leaf ?? row.turns.at(-1) ?? row.id
}

const colourOf = (row: Run): string => (row.active ? 'var(--accent)' : 'var(--control)')

function Lanes({ row, lanes, height, hidden, last }: { row: Run; lanes: number; height: number; hidden: boolean; last: Run | undefined }) {
  const x = (lane: number): number => 16 + lane * LANE
  const y = ROW / 2
  const continues = row.leaf === null || (last?.through.includes(row.lane) ?? false)
  return (
    <svg aria-hidden data-shape width={24 + lanes * LANE} height={height} className="shrink-0">
      {row.through.map((lane) => (
        <path key={lane} d={`M${x(lane)} 0V${height}`} stroke={lane === 0 ? 'var(--accent)' : 'var(--control)'} strokeWidth={lane === 0 ? 2 : 1.5} />
      ))}
      {row.parent !== null &&
        (row.lane > 0 && !row.through.includes(row.lane) && row.through.includes(row.lane - 1) ? (
          <path d={`M${x(row.lane - 1)} 0C${x(row.lane - 1)} ${y} ${x(row.lane)} ${y - 12} ${x(row.lane)} ${y}`} fill="none" stroke={colourOf(row)} strokeWidth={1.5} />
        ) : (
          <path d={`M${x(row.lane)} 0V${y}`} stroke={colourOf(row)} strokeWidth={row.active ? 2 : 1.5} strokeDasharray={hidden ? '3 3' : undefined} />
        ))}
      {continues && <path d={`M${x(row.lane)} ${y}V${height}`} stroke={colourOf(row)} strokeWidth={row.active ? 2 : 1.5} />}
      {row.turns.length > 1 ? (
        <rect x={x(row.lane) - 5} y={y - 7} width={10} height={14} rx={5} fill={colourOf(row)} />
      ) : (
        <circle cx={x(row.lane)} cy={y} r={5} fill={row.leaf ? colourOf(row) : 'var(--canvas)'} stroke={colourOf(row)} strokeWidth={2} />
      )}
    </svg>
  )
}
