/** The frame of every view: the top bar, dialogs that belong to no view, the live regions for screen readers. */
import { useQuery } from '@tanstack/react-query'
import { Link, Outlet, useNavigate, useRouterState } from '@tanstack/react-router'
import { Menu as MenuIcon, Settings as SettingsIcon } from 'lucide-react'
import { lazy, Suspense, useEffect, useRef, useState } from 'react'
import { useAuth } from '../api/client.ts'
import { usage } from '../api/routes.ts'
import { KEYS, keyOf, useKeys, type Action } from '../keys.ts'
import { useAbout, useSessionList, queries } from '../sessions/queries.ts'
import { parse, shown } from '../timeline/money.ts'
import { Announcer } from './announce.tsx'
import { Button, Dialog, IconButton, join, Key, Tip, TipProvider } from './controls.tsx'
import { usePanes } from './panes.ts'
import { Badge } from './states.tsx'
import { Toasts } from './toast.tsx'

const Palette = lazy(() => import('./Palette.tsx'))

const NAV = [
  { to: '/sessions', label: 'Sessions', action: 'goSessions' },
  { to: '/suites', label: 'Suites', action: 'goSuites' },
  { to: '/agents', label: 'Agents', action: 'goAgents' },
  { to: '/usage', label: 'Usage', action: 'goUsage' },
] as const

export function Frame() {
  const navigate = useNavigate()
  const [palette, setPalette] = useState(false)
  const [help, setHelp] = useState(false)
  const keyRequired = useAuth((state) => state.keyRequired)
  useKeys({
    goSessions: () => void navigate({ to: '/sessions' }),
    goSuites: () => void navigate({ to: '/suites' }),
    goAgents: () => void navigate({ to: '/agents' }),
    goUsage: () => void navigate({ to: '/usage' }),
    newSession: () => void navigate({ to: '/sessions/new', search: {} }),
    commands: () => setPalette(true),
    help: () => setHelp(true),
  })
  return (
    <TipProvider delay={400}>
      <a href="#main" className="sr-only focus:not-sr-only focus:absolute focus:top-1 focus:left-1 focus:z-50 focus:rounded-sm focus:bg-accent focus:px-3 focus:py-1 focus:text-on-accent">
        Skip to the content
      </a>
      <div className="flex h-dvh flex-col">
        <header className="flex h-11 shrink-0 items-center gap-0.5 border-b border-line bg-surface px-1.5 sm:gap-1 sm:px-3">
          <ListButton />
          <Link to="/sessions" className="target mr-1 flex shrink-0 items-center justify-center gap-2 rounded-sm px-1 font-semibold max-sm:hidden">
            <svg width="16" height="16" viewBox="0 0 16 16" aria-hidden className="text-accent">
              <path d="M1 8h14M5 3v10" stroke="currentColor" strokeWidth="1.75" strokeLinecap="round" fill="none" />
              <circle cx="10.5" cy="8" r="2.25" fill="currentColor" />
            </svg>
            Playhead
          </Link>
          {/* With letters too large for the bar, its links scroll on their own. */}
          <nav aria-label="Main" className="-my-1 flex min-w-0 overflow-x-auto px-0.5 py-1 [scrollbar-width:none]">
            {NAV.map((each) => (
              <Link
                key={each.to}
                to={each.to}
                activeOptions={{ includeSearch: false }}
                className="target flex shrink-0 items-center rounded-sm px-1 text-list text-muted hover:bg-hover data-[status=active]:font-medium data-[status=active]:text-text sm:px-2"
              >
                {each.label}
              </Link>
            ))}
          </nav>
          <button
            type="button"
            onClick={() => setPalette(true)}
            className="field ml-auto flex min-w-0 items-center gap-2 text-list text-muted max-md:hidden md:w-56"
          >
            <span className="flex-1 text-left">Go to</span>
            <Key>{keyOf('commands')}</Key>
          </button>
          <span className="ml-auto md:ml-1" />
          <ApprovalsWaiting />
          <Spent />
          <LinkDot />
          <IconButton label="Keys" action="help" onClick={() => setHelp(true)} className="max-sm:hidden">
            <span aria-hidden className="text-list font-semibold">
              ?
            </span>
          </IconButton>
          <Tip label="Settings">
            <Link to="/settings" aria-label="Settings" className="target inline-flex shrink-0 items-center justify-center rounded-sm text-muted hover:bg-hover hover:text-text">
              <SettingsIcon size={16} />
            </Link>
          </Tip>
        </header>
        <div className="flex min-h-0 flex-1 flex-col">
          <Outlet />
        </div>
      </div>
      {palette && (
        <Suspense>
          <Palette close={() => setPalette(false)} />
        </Suspense>
      )}
      {help && <Help close={() => setHelp(false)} />}
      {keyRequired && <KeyDialog />}
      <Toasts />
      <Announcer />
      <TitleReader />
    </TipProvider>
  )
}

function ListButton() {
  const path = useRouterState({ select: (state) => state.location.pathname })
  const { list, set } = usePanes()
  if (!/^\/sessions\/./.test(path)) return null
  return (
    <IconButton label="List of sessions" action="listPane" aria-expanded={list} onClick={() => set({ list: !list })} className="max-sm:hidden lg:hidden">
      <MenuIcon size={16} />
    </IconButton>
  )
}

const ANSWERING = { status: 'pending_assistant_turn' }

function ApprovalsWaiting() {
  // A session that waits for an approval has this status: the filter finds it however many sessions are newer.
  const found = useSessionList(ANSWERING)
  const waiting = found.data?.pages[0]?.items.filter((session) => (session.approvals?.length ?? 0) > 0) ?? []
  const [first] = waiting
  if (!first) return null
  return (
    <Link to="/sessions/$id" params={{ id: first.id }} search={{}} className="target flex shrink-0 items-center justify-center">
      <Badge kind="warn">
        {waiting.length}
        <span className="max-sm:sr-only">{waiting.length === 1 ? ' approval' : ' approvals'}</span>
      </Badge>
    </Link>
  )
}

function Spent() {
  const about = useAbout()
  const total = useQuery({ queryKey: ['usage', 'total'], queryFn: ({ signal }) => usage.total({}, { signal }), refetchInterval: 15_000 })
  const { quota, month, spent } = about.data ?? {}
  if (spent === undefined) return null
  // A model without a price is in no sum; only the total of all time names these models.
  const amount = { value: parse(spent), unpriced: total.data?.cost.unpriced_models ?? [] }
  return (
    <Tip label={`Spent in ${month}${quota ? `, of $${quota.limit}` : ''}`}>
      <Link to="/usage" className="target flex shrink-0 items-center px-1 text-list text-money max-sm:hidden">
        {shown(amount)}
      </Link>
    </Tip>
  )
}

const LINKS: Record<string, { words: string; look: string }> = {
  live: { words: 'Live', look: 'bg-ok' },
  over: { words: 'The session is over', look: 'bg-control' },
  connecting: { words: 'Connecting', look: 'border-2 border-live' },
  resting: { words: 'Resting while the tab is hidden', look: 'border-2 border-control' },
  polling: { words: 'Asks every 2 s', look: 'border-2 border-ok' },
  lost: { words: 'Connection lost', look: 'rounded-none bg-bad' },
  refused: { words: 'Not connected', look: 'rounded-none bg-bad' },
}

function LinkDot() {
  const link = usePanes((state) => state.link)
  const status = link ? LINKS[link.kind] : undefined
  if (!status) return null
  return (
    <Tip label={status.words}>
      <span role="img" aria-label={`Connection: ${status.words}`} tabIndex={-1} className="inline-flex size-6 shrink-0 items-center justify-center">
        <span className={join('size-2 rounded-full', status.look)} />
      </span>
    </Tip>
  )
}

const GROUPS = ['Conversation', 'Acting', 'View', 'Lists', 'Going'] as const

function Help({ close }: { close: () => void }) {
  return (
    <Dialog title="Keys" onClose={close} wide>
      <div className="grid gap-4 sm:grid-cols-2">
        {GROUPS.map((group) => (
          <section key={group}>
            <h3 className="mb-1 text-meta font-semibold text-muted">{group}</h3>
            <dl className="grid grid-cols-[auto_1fr] gap-x-2 gap-y-0.5 text-list">
              {(Object.keys(KEYS) as Action[])
                .filter((action) => KEYS[action].group === group)
                .map((action) => (
                  <div key={action} className="contents">
                    <dt className="min-w-16">
                      <Key>{keyOf(action)}</Key>
                    </dt>
                    <dd>{KEYS[action].words}</dd>
                  </div>
                ))}
            </dl>
          </section>
        ))}
        <section>
          <h3 className="mb-1 text-meta font-semibold text-muted">While writing</h3>
          <dl className="grid grid-cols-[auto_1fr] gap-x-2 gap-y-0.5 text-list">
            {[
              ['Enter', 'Send'],
              ['Shift Enter', 'A new line'],
              ['⌘ Enter', 'Send and interrupt'],
              ['Esc', 'Stop the reply'],
              ['↑', 'Edit what was said last'],
              ['Alt ↑ ↓', 'What was said before'],
            ].map(([key, words]) => (
              <div key={key} className="contents">
                <dt>
                  <Key>{key}</Key>
                </dt>
                <dd>{words}</dd>
              </div>
            ))}
          </dl>
        </section>
      </div>
    </Dialog>
  )
}

function KeyDialog() {
  const { enter } = useAuth()
  const [key, setKey] = useState('')
  const [remember, setRemember] = useState(false)
  return (
    <Dialog title="A key is needed" onClose={() => useAuth.setState({ keyRequired: false })}>
      <form
        onSubmit={(event) => {
          event.preventDefault()
          enter(key.trim(), remember)
          void queries.invalidateQueries()
        }}
      >
        <p className="text-list text-muted">
          The API takes calls with a key only. <code className="font-mono text-code">playhead keys create</code> makes one.
        </p>
        <label className="mt-3 block text-list text-muted">
          Key
          <input type="password" autoFocus autoComplete="off" value={key} onChange={(event) => setKey(event.target.value)} className="field mt-1 w-full font-mono" />
        </label>
        <label className="target mt-2 flex items-center gap-2 text-list">
          <input type="checkbox" checked={remember} onChange={(event) => setRemember(event.target.checked)} />
          Remember it in this browser; else it is kept for this tab
        </label>
        <div className="mt-3 flex justify-end">
          <Button type="submit" look="main" disabled={!key.trim()}>
            Use it
          </Button>
        </div>
      </form>
    </Dialog>
  )
}

/** Moves the focus to the content of a new view, unless something else has it, so that screen readers announce it. */
function TitleReader() {
  // Resolved: the view of a location is there only once it is.
  const path = useRouterState({ select: (state) => state.resolvedLocation?.pathname })
  const first = useRef(true)
  const moved = useRef<HTMLElement | null>(null)
  useEffect(() => {
    if (path === undefined) return
    if (first.current) {
      first.current = false
      return
    }
    const main = document.getElementById('main')
    const focused = document.activeElement
    if (main && (focused === null || focused === document.body || focused === moved.current)) {
      main.tabIndex = -1
      main.focus({ preventScroll: true })
      moved.current = main
    }
  }, [path])
  return null
}
