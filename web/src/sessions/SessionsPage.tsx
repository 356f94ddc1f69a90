/** The list of sessions, and beside it what is open. */
import { getRouteApi, Link, Outlet, useMatchRoute, useNavigate, useParams } from '@tanstack/react-router'
import { useVirtualizer } from '@tanstack/react-virtual'
import { Bot, Plus, Search, X } from 'lucide-react'
import { useEffect, useMemo, useRef, useState } from 'react'
import type { SessionSummary } from '../api/types.ts'
import { useKeys } from '../keys.ts'
import { usePreferences } from '../settings/preferences.ts'
import { amountOf, parse, placesOf } from '../timeline/money.ts'
import { Button, IconButton, join, Splitter, Tip } from '../ui/controls.tsx'
import { Money } from '../ui/Money.tsx'
import { usePanes } from '../ui/panes.ts'
import { Badge, Empty, Loading, ProblemNote, StatusShape, useNow, useTitle } from '../ui/states.tsx'
import { age, count, daysWords, fullTime, plural, PURPOSES, STATUS, when } from '../words.ts'
import { isBilled, type ListFilter, matches, useAgents, useSessionList, useVersions } from './queries.ts'

const route = getRouteApi('/sessions')

export function SessionsPage() {
  const { listWidth, listShown, set } = usePreferences()
  const { list: drawer, inspector, set: setPanes } = usePanes()
  const matchRoute = useMatchRoute()
  const isSession = Boolean(matchRoute({ to: '/sessions/$id' })) && !matchRoute({ to: '/sessions/new' })
  const isIndex = Boolean(matchRoute({ to: '/sessions' }))
  useKeys({
    listPane: () => (matchMedia('(min-width: 1280px)').matches ? set({ listShown: !listShown }) : setPanes({ list: !drawer })),
  })
  // With nothing open the list is the content; else it stands beside it. The elements stay the same, with other roles:
  // a filter on the form of a new session leads to the list, and keeps the focus.
  const [body, content, list] = isIndex ? (['main', undefined, 'region'] as const) : ([undefined, 'main', 'complementary'] as const)
  return (
    <div className="flex min-h-0 flex-1 flex-col">
      <div id={isIndex ? 'main' : undefined} role={body} className="relative flex min-h-0 flex-1">
        {drawer && !isIndex && (
          <button type="button" aria-label="Close the list" className="absolute inset-0 z-20 bg-black/30 max-sm:hidden lg:hidden" onClick={() => setPanes({ list: false })} />
        )}
        <div
          role={list}
          aria-label="Sessions"
          style={{ '--width': `${listWidth}px` } as React.CSSProperties}
          className={join(
            'min-h-0 flex-col bg-surface',
            isIndex ? 'flex w-full md:w-80 md:border-r md:border-line' : drawer ? 'flex max-sm:w-full sm:absolute sm:inset-y-0 sm:left-0 sm:z-30 sm:w-80 sm:border-r sm:border-line sm:shadow-layer' : 'hidden',
            listShown ? 'lg:relative lg:z-10 lg:flex lg:shrink-0 lg:w-[var(--width)] lg:border-r lg:border-line lg:shadow-none' : !isIndex && 'lg:hidden',
          )}
        >
          {(isIndex || drawer) && <h1 className={join('sr-only', !isIndex && 'sm:hidden')}>Sessions</h1>}
          <SessionList opened={() => setPanes({ list: false })} />
          {listShown && (
            <div className="absolute inset-y-0 -right-1 hidden lg:flex">
              <Splitter label="Width of the list" value={listWidth} range={[220, 480]} side="left" onChange={(width) => set({ listWidth: width })} />
            </div>
          )}
        </div>
        <div id={isIndex ? undefined : 'main'} role={content} className={join('flex min-w-0 flex-1 flex-col', isIndex ? 'max-md:hidden' : drawer && 'max-sm:hidden')}>
          <Outlet />
        </div>
      </div>
      {isSession && (
        <nav aria-label="Panes" className="flex shrink-0 border-t border-line bg-surface pb-[env(safe-area-inset-bottom)] sm:hidden">
          {[
            { label: 'List', on: drawer, go: () => setPanes({ list: true, inspector: false }) },
            { label: 'Talk', on: !drawer && !inspector, go: () => setPanes({ list: false, inspector: false }) },
            { label: 'Inspect', on: !drawer && inspector, go: () => setPanes({ list: false, inspector: true }) },
          ].map((tab) => (
            <button
              key={tab.label}
              type="button"
              aria-current={tab.on ? 'page' : undefined}
              onClick={tab.go}
              className={join('h-11 flex-1 border-t-2 text-list', tab.on ? 'border-accent font-medium text-text' : 'border-transparent text-muted')}
            >
              {tab.label}
            </button>
          ))}
        </nav>
      )}
    </div>
  )
}

const STATUSES = ['idle', 'pending_assistant_turn', 'rewound', 'error', 'completed']
const SINCE = { '': 'Time', '1h': 'Last hour', '24h': 'Last 24 hours', '7d': 'Last 7 days' }

const NO_FILTER: ListFilter = {}
/** The ledger's name for the price of seconds, among models. */
const SECONDS = 'duration'

function SessionList({ opened }: { opened: () => void }) {
  const search = route.useSearch()
  const navigate = useNavigate()
  // On the form of a new session, agent and version fill the form and do not filter the list.
  const isForm = Boolean(useMatchRoute()({ to: '/sessions/new' }))
  const filter = isForm ? NO_FILTER : search
  const params = useParams({ strict: false })
  const agentList = useAgents()
  const names = useMemo(() => new Map(agentList.data?.items.map((agent) => [agent.id, agent.name])), [agentList.data])
  const found = useSessionList(filter)
  const dense = usePreferences((state) => state.density === 'dense')
  const now = useNow()
  const height = dense ? 32 : 52

  const all = useMemo(() => {
    const items = found.data?.pages.flatMap((page) => page.items) ?? []
    const unique = [...new Map(items.map((item) => [item.id, item])).values()]
    return filter.q ? unique.filter((item) => matches(item, names.get(item.agent_id) ?? '', filter.q ?? '')) : unique
  }, [found.data, filter.q, names])

  // New rows wait until the user asks for them, so that nothing moves under the pointer.
  const [accepted, setAccepted] = useState<{ key: string; ids: ReadonlySet<string> }>({ key: '', ids: new Set() })
  const key = JSON.stringify(filter)
  const oldest = all.at(-1)?.created_at ?? ''
  const waiting = accepted.key === key ? all.filter((item) => !accepted.ids.has(item.id) && item.created_at > oldestNew(accepted.ids, all)) : []
  useEffect(() => {
    if (all.length === 0) return
    setAccepted((before) => {
      const atTop = (scroller.current?.scrollTop ?? 0) < 8 && !scroller.current?.matches(':hover')
      if (before.key !== key || atTop) return { key, ids: new Set(all.map((item) => item.id)) }
      // Older pages are always taken; what is newer waits.
      const border = oldestNew(before.ids, all)
      return { key, ids: new Set([...before.ids, ...all.filter((item) => item.created_at <= border).map((item) => item.id)]) }
    })
  }, [all, key, oldest])
  const places = useMemo(() => placesOf(all.map((item) => parse(item.cost.total))), [all])
  const shownItems = waiting.length > 0 ? all.filter((item) => accepted.ids.has(item.id)) : all

  const scroller = useRef<HTMLDivElement>(null)
  const virtualizer = useVirtualizer({
    count: shownItems.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => height,
    getItemKey: (at) => shownItems[at]?.id ?? at,
    overscan: 8,
  })
  const lastShown = virtualizer.getVirtualItems().at(-1)?.index ?? 0
  const { hasNextPage, isFetchingNextPage, fetchNextPage } = found
  useEffect(() => {
    if (hasNextPage && !isFetchingNextPage && lastShown >= shownItems.length - 10) void fetchNextPage()
  }, [hasNextPage, isFetchingNextPage, fetchNextPage, lastShown, shownItems.length])
  useEffect(() => virtualizer.measure(), [virtualizer, height])

  const set = (change: Partial<typeof filter>): void =>
    void (isForm ? navigate({ to: '/sessions', search: change }) : navigate({ to: '.', search: (before: Record<string, unknown>) => ({ ...before, ...change }), replace: true }))
  const walk = (step: number): void => {
    const at = shownItems.findIndex((item) => item.id === params.id)
    const next = shownItems[Math.max(0, Math.min(shownItems.length - 1, at + step))]
    if (next) void navigate({ to: '/sessions/$id', params: { id: next.id }, search: filter })
  }
  useKeys({
    newSession: () => void navigate({ to: '/sessions/new', search: {} }),
    nextRow: () => walk(1),
    previousRow: () => walk(-1),
  })
  const filtered = Object.values(filter).some(Boolean)

  return (
    <>
      <div className="flex flex-col gap-1 border-b border-line p-2">
        <div className="flex gap-1">
          <label className="relative min-w-0 flex-1">
            <Search size={14} aria-hidden className="absolute top-1/2 left-2 -translate-y-1/2 text-muted" />
            <input
              type="search"
              aria-label="Search sessions"
              placeholder="Search sessions"
              value={filter.q ?? ''}
              onChange={(event) => set({ q: event.target.value || undefined })}
              className="field w-full pl-7 text-list"
            />
          </label>
          <Tip label="New session" action="newSession">
            <Link to="/sessions/new" search={{}} onClick={opened} aria-label="New session" className="target inline-flex items-center gap-1 rounded-sm bg-accent px-2 text-list font-medium text-on-accent">
              <Plus size={14} /> New
            </Link>
          </Tip>
        </div>
        <div className="grid grid-cols-3 gap-1">
          <Choice label="Status" value={filter.status ?? ''} options={[['', 'Status'], ...STATUSES.map((each): [string, string] => [each, STATUS[each] ?? each])]} change={(status) => set({ status })} />
          <Choice label="Agent" value={filter.agent ?? ''} options={[['', 'Agent'], ...(agentList.data?.items ?? []).map((each): [string, string] => [each.name, each.name])]} change={(agent) => set({ agent, version: undefined })} />
          <Choice label="Since" value={filter.since ?? ''} options={Object.entries(SINCE)} change={(since) => set({ since })} />
        </div>
        {filter.agent && <VersionChoice agent={filter.agent} newest={agentList.data?.items.find((each) => each.name === filter.agent || each.id === filter.agent)?.version} value={filter.version} change={(version) => set({ version })} />}
        {filter.suite && <Chosen remove={() => set({ suite: undefined })}>of suite {filter.suite}</Chosen>}
        {isBilled(filter) && (
          <Chosen remove={() => set({ model: undefined, purpose: undefined, from: undefined, to: undefined })}>
            charged{filter.purpose && ` for ${PURPOSES[filter.purpose] ?? filter.purpose}`}
            {filter.model && ` for ${filter.model === SECONDS ? 'seconds' : filter.model}`}
            {filter.from && filter.from === filter.to ? ' on ' : ' '}
            {daysWords(filter.from, filter.to)}
          </Chosen>
        )}
      </div>
      {waiting.length > 0 && (
        <Button
          look="quiet"
          className="m-1 bg-accent-tint text-accent"
          onClick={() => {
            setAccepted({ key, ids: new Set(all.map((item) => item.id)) })
            scroller.current?.scrollTo({ top: 0 })
          }}
        >
          {waiting.length} new
        </Button>
      )}
      <div ref={scroller} className="min-h-0 flex-1 overflow-y-auto">
        {found.isPending ? (
          <Loading rows={8} height={height - 12} label="Loading sessions" />
        ) : found.isError && all.length === 0 ? (
          <ProblemNote error={found.error} retry={() => void found.refetch()} />
        ) : all.length === 0 ? (
          <Empty title={filtered ? 'No session fits' : 'No conversation yet'}>
            {filtered ? (
              <Button onClick={() => void navigate({ to: '/sessions', search: {} })}>Show all</Button>
            ) : (
              <Link to="/sessions/new" search={{}} className="text-accent underline">
                Talk to an agent
              </Link>
            )}
          </Empty>
        ) : (
          <ul className="relative" style={{ height: virtualizer.getTotalSize() }}>
            {virtualizer.getVirtualItems().map((virtual) => {
              const session = shownItems[virtual.index]
              if (!session) return null
              return (
                <li key={session.id} className="absolute top-0 left-0 w-full" style={{ transform: `translateY(${virtual.start}px)`, height }}>
                  <Row session={session} agent={session.agent_name ?? names.get(session.agent_id) ?? ''} dense={dense} open={session.id === params.id} now={now} places={places} filter={filter} opened={opened} />
                </li>
              )
            })}
          </ul>
        )}
      </div>
      <p className="border-t border-line px-3 py-1 text-meta text-faint">
        {found.isPending ? ' ' : found.hasNextPage ? `${count(all.length)} of many` : plural(all.length, 'session')}
      </p>
    </>
  )
}

const oldestNew = (ids: ReadonlySet<string>, all: readonly SessionSummary[]): string => all.find((item) => ids.has(item.id))?.created_at ?? ''

/** A filter that came with a link, and a button to remove it. */
function Chosen({ children, remove }: { children: React.ReactNode; remove: () => void }) {
  return (
    <p className="flex items-center gap-1 rounded-sm bg-accent-tint pl-2 text-meta text-accent">
      <span className="min-w-0 flex-1 py-1 [overflow-wrap:anywhere]">{children}</span>
      <IconButton label="Remove this filter" onClick={remove}>
        <X size={14} />
      </IconButton>
    </p>
  )
}

/** A choice of the agent's version; hidden while there is only one. */
export function VersionChoice({ agent, newest, value, change }: { agent: string; newest: number | undefined; value: number | undefined; change: (version: number | undefined) => void }) {
  const versions = useVersions(agent, newest)
  if ((versions.data?.length ?? 0) < 2 && value === undefined) return null
  const known = versions.data ?? []
  const listed = value === undefined || known.some((each) => each.version === value) ? known : [{ version: value, at: null }, ...known]
  return (
    <Choice
      label="Version"
      value={value === undefined ? '' : String(value)}
      options={[['', 'Every version'], ...listed.map((each): [string, string] => [String(each.version), `Version ${each.version}${each.at ? ` · ${when(each.at)}` : ''}`])]}
      change={(version) => change(version === undefined ? undefined : Number(version))}
    />
  )
}

export function Choice({ label, value, options, change }: { label: string; value: string; options: readonly (readonly [string, string])[]; change: (value: string | undefined) => void }) {
  return (
    <select
      aria-label={label}
      value={value}
      onChange={(event) => change(event.target.value || undefined)}
      className={join('field min-w-0 px-1 text-meta', value === '' ? 'text-muted' : 'border-accent bg-accent-tint')}
    >
      {options.map(([each, words]) => (
        <option key={each} value={each}>
          {words}
        </option>
      ))}
    </select>
  )
}

interface RowProps {
  session: SessionSummary
  agent: string
  dense: boolean
  open: boolean
  now: number
  /** Decimals of the amounts in the list. */
  places: number
  filter: ListFilter
  opened: () => void
}

function Row({ session, agent, dense, open, now, places, filter, opened }: RowProps) {
  const marks = (
    <>
      {(session.approvals?.length ?? 0) > 0 && <Badge kind="warn">approval</Badge>}
      {session.simulator && (
        <span role="img" aria-label="Simulated user" title="Simulated user" className="shrink-0 text-faint">
          <Bot size={13} aria-hidden />
        </span>
      )}
      {session.forked_from && <Badge kind="plain">fork</Badge>}
    </>
  )
  return (
    <Link
      to="/sessions/$id"
      params={{ id: session.id }}
      search={filter as object}
      onClick={opened}
      aria-current={open ? 'page' : undefined}
      className={join('flex h-full items-center gap-2 px-3 text-list hover:bg-hover', open && 'bg-accent-tint')}
    >
      <StatusShape status={session.status} />
      {dense ? (
        <>
          <span className="min-w-0 flex-1 truncate">{session.name}</span>
          {marks}
        </>
      ) : (
        <span className="min-w-0 flex-1">
          <span className="flex items-center gap-1">
            <span className="truncate font-medium">{session.name}</span>
            {marks}
          </span>
          <span className="block truncate text-meta text-muted">
            {agent} v{session.agent_version}
            {session.turn_count !== undefined && ` · ${plural(session.turn_count, 'turn')}`}
            {!session.is_completed && ` · ${session.current_node_id ?? ''}`}
          </span>
        </span>
      )}
      <span className="text-right text-meta">
        <span title={fullTime(session.created_at)} className="block text-faint">{age(session.created_at, now)}</span>
        {!dense && <Money amount={amountOf(session.cost)} places={places} className="block" />}
      </span>
    </Link>
  )
}

/** Nothing is open: the newest session is offered. */
export function NothingOpen() {
  useTitle('Sessions')
  const found = useSessionList({})
  const newest = found.data?.pages[0]?.items[0]
  return (
    <div className="mx-auto flex max-w-md flex-col items-center gap-2 px-6 py-16 text-center">
      <h2 className="text-title font-semibold">Talk to an agent</h2>
      <p className="text-muted">Start a conversation, go back in it, change what was said, and see what every step read, decided and cost.</p>
      <div className="mt-4 flex flex-wrap justify-center gap-2">
        <Link to="/sessions/new" search={{}} className="target inline-flex items-center gap-1 rounded-sm bg-accent px-3 py-1 font-medium text-on-accent">
          <Plus size={14} /> New session
        </Link>
        {newest && (
          <Link to="/sessions/$id" params={{ id: newest.id }} search={{}} className="target inline-flex items-center rounded-sm border border-control bg-surface px-3 py-1 text-text hover:bg-hover">
            Newest: {newest.name}
          </Link>
        )}
      </div>
    </div>
  )
}
