/** One session: title and actions, conversation, inspector. */
import { Link, useNavigate } from '@tanstack/react-router'
import { Clock3, GitBranch, MoreHorizontal, PanelRight } from 'lucide-react'
import { useEffect, useMemo, useState } from 'react'
import { sessions } from '../api/routes.ts'
import { useCommands } from '../conversation/commands.ts'
import { Conversation } from '../conversation/Conversation.tsx'
import { useSelection } from '../conversation/selection.ts'
import { Inspector, TABS } from '../inspector/Inspector.tsx'
import { useKeys } from '../keys.ts'
import { usePreferences } from '../settings/preferences.ts'
import { amountOf, shown } from '../timeline/money.ts'
import { lostSince, useSession, useSessionStore, type SessionStore } from '../timeline/store.ts'
import { Button, Dialog, IconButton, join, Menu, Splitter, Tip } from '../ui/controls.tsx'
import { useAddViewCommands } from '../ui/offers.ts'
import { usePanes } from '../ui/panes.ts'
import { Badge, download, StatusShape, useTitle } from '../ui/states.tsx'
import { clock, reason, STATUS } from '../words.ts'
import { useAgentName } from './queries.ts'
import type { NewSearch } from '../routes.tsx'

export function SessionPage() {
  const selection = useSelection()
  // A store belongs to one session: another session is another page.
  return <SessionView key={selection.session} />
}

function SessionView() {
  const selection = useSelection()
  const store = useSessionStore(selection.session)
  const link = useSession(store, (state) => state.link)
  const name = useSession(store, (state) => state.timeline.session?.name)
  const lostAt = useSession(store, lostSince)
  const { inspector: sheet, set: setPanes } = usePanes()
  const { inspectorShown, inspectorWidth, set } = usePreferences()
  useEffect(() => {
    setPanes({ link })
    return () => setPanes({ link: null })
  }, [link, setPanes])

  const session = useSession(store, (state) => state.timeline.session)
  const agent = useAgentName(session)
  const navigate = useNavigate()
  const again = (): void => session ? void navigate({ to: '/sessions/new', search: sameAs(agent, session) }) : undefined

  useKeys({
    sameAgain: again,
    inspectorPane: () => (matchMedia('(min-width: 960px)').matches ? set({ inspectorShown: !inspectorShown }) : setPanes({ inspector: !sheet })),
    ...Object.fromEntries(
      TABS.map((tab, at) => [
        `tab${at + 1}`,
        () => {
          set({ inspectorShown: true })
          setPanes({ inspector: true })
          selection.go({ tab: tab.id }, { replace: true })
        },
      ]),
    ),
  })

  return (
    <div className="flex min-h-0 min-w-0 flex-1">
      <section aria-label="Session" data-stale={lostAt !== null || undefined} className={join('flex min-w-0 flex-1 flex-col', sheet && 'max-sm:hidden')}>
        <Header store={store} again={again} />
        <Conversation store={store} selection={selection} again={again} />
      </section>
      <aside
        id="inspector"
        aria-label="Inspector"
        style={{ '--width': `${inspectorWidth}px` } as React.CSSProperties}
        className={join(
          'min-h-0 min-w-0 flex-col bg-surface',
          sheet ? 'flex max-md:fixed max-md:inset-y-11 max-md:right-0 max-md:z-30 max-md:w-[min(420px,100vw)] max-md:border-l max-md:border-line max-md:shadow-layer max-sm:static max-sm:w-full max-sm:shadow-none' : 'hidden',
          inspectorShown ? 'md:relative md:z-10 md:flex md:w-[var(--width)] md:shrink-0 md:border-l md:border-line' : 'md:hidden',
        )}
      >
        {sheet && <h1 className="sr-only sm:hidden">{name ?? selection.session}</h1>}
        {inspectorShown && (
          <div className="absolute inset-y-0 -left-1 hidden md:flex">
            <Splitter label="Width of the inspector" value={inspectorWidth} range={[320, 720]} side="right" onChange={(width) => set({ inspectorWidth: width })} />
          </div>
        )}
        <Inspector store={store} selection={selection} close={() => setPanes({ inspector: false })} />
      </aside>
    </div>
  )
}

function Header({ store, again }: { store: SessionStore; again: () => void }) {
  const lostAt = useSession(store, lostSince)
  const session = useSession(store, (state) => state.timeline.session)
  const { id } = store.getState()
  const navigate = useNavigate()
  const commands = useCommands(store)
  const agent = useAgentName(session)
  const { inspector: sheet, set: setPanes } = usePanes()
  const { inspectorShown, set } = usePreferences()
  const [erasing, setErasing] = useState(false)
  useTitle(session?.name ?? id)
  useKeys({
    goBranches: () => void navigate({ to: '/sessions/$id/branches', params: { id } }),
  })
  const title = session?.name ?? id
  const save = (format: 'text' | 'markdown' | 'json' | 'jsonl', ending: string): void =>
    void download(sessions.transcript(id, format), `${title}.${ending}`)
  const isOver = session?.is_completed ?? true
  useAddViewCommands(
    useMemo(
      () => [
        { label: 'Branches of this session', run: () => void navigate({ to: '/sessions/$id/branches', params: { id } }) },
        ...(['text', 'markdown', 'json', 'jsonl'] as const).map((format) => ({
          label: `Export as ${{ text: 'text', markdown: 'Markdown', json: 'JSON', jsonl: 'JSONL' }[format]}`,
          run: () => void download(sessions.transcript(id, format), `${title}.${{ text: 'txt', markdown: 'md', json: 'json', jsonl: 'jsonl' }[format]}`),
        })),
        ...(isOver ? [] : [{ label: 'End the session', run: () => void commands.end() }]),
        { label: 'Erase the session …', run: () => setErasing(true) },
      ],
      [id, title, isOver, navigate, commands],
    ),
  )
  return (
    <header className="flex h-11 shrink-0 items-center gap-2 border-b border-line px-3 sm:px-4">
      {session && <StatusShape status={session.status} />}
      <h1 className={join('min-w-0 truncate font-semibold max-sm:flex-1', !session && 'flex-1')}>{session?.name ?? id}</h1>
      {session && (
        <p className="min-w-0 flex-1 truncate text-list text-muted max-sm:hidden">
          <Link to="/agents/$name" params={{ name: agent }} search={{ version: session.agent_version }} className="target inline-flex items-center hover:underline">
            {agent} v{session.agent_version}
          </Link>
          {' · '}
          {session.is_completed ? reason(session.completion_reason ?? '') : (STATUS[session.status] ?? session.status)}
          {session.current_node_id && ` · ${session.current_node_id}`}
          {session.simulator && <> · simulated</>}
        </p>
      )}
      {session?.forked_from && (
        <Link to="/sessions/$id" params={{ id: session.forked_from.session_id }} search={{ turn: session.forked_from.turn_id }} className="max-sm:hidden">
          <Badge kind="plain">fork</Badge>
        </Link>
      )}
      {lostAt !== null && (
        <Tip label={`What is shown is as of ${clock(lostAt)}: the connection is lost`}>
          <span role="img" aria-label={`As of ${clock(lostAt)}`} tabIndex={-1} className="inline-flex shrink-0 items-center gap-1 text-meta text-faint">
            <Clock3 size={14} aria-hidden />
            <span className="max-sm:hidden">{clock(lostAt)}</span>
          </span>
        </Tip>
      )}
      {session && (
        <Tip label={`$${session.cost.total} spent, discarded branches included`}>
          <span tabIndex={-1} className="text-list whitespace-nowrap text-money">
            {shown(amountOf(session.cost))}
          </span>
        </Tip>
      )}
      <Tip label="Branches" action="goBranches">
        <Link
          to="/sessions/$id/branches"
          params={{ id }}
          aria-label="Branches"
          className="target inline-flex items-center justify-center rounded-sm text-muted hover:bg-hover hover:text-text"
        >
          <GitBranch size={16} />
        </Link>
      </Tip>
      <Menu
        trigger={
          <button type="button" aria-label="More for this session" className="target inline-flex items-center justify-center rounded-sm text-muted hover:bg-hover hover:text-text">
            <MoreHorizontal size={16} />
          </button>
        }
        entries={[
          {
            label: 'The same again',
            detail: 'A new session with the same agent and context',
            action: 'sameAgain',
            disabled: !session,
            run: again,
          },
          {
            label: 'Fork from the newest turn',
            run: () => void commands.fork(undefined).then((made) => made && navigate({ to: '/sessions/$id', params: { id: made.id }, search: {} })),
          },
          ...(session?.simulator
            ? [
                {
                  label: session.simulator['enabled'] ? 'Take over from the simulated user' : 'Hand back to the simulated user',
                  disabled: session.is_completed,
                  run: () => void commands.simulate(!session.simulator?.['enabled']),
                },
              ]
            : []),
          null,
          { label: 'Export as text', run: () => save('text', 'txt') },
          { label: 'Export as Markdown', run: () => save('markdown', 'md') },
          { label: 'Export as JSON', run: () => save('json', 'json') },
          { label: 'Export as JSONL', run: () => save('jsonl', 'jsonl') },
          null,
          { label: 'End the session', detail: 'It takes no more messages; forks go on', disabled: session?.is_completed ?? true, run: () => void commands.end() },
          { label: 'Erase …', danger: true, run: () => setErasing(true) },
        ]}
      />
      <IconButton
        label="Inspector"
        action="inspectorPane"
        aria-expanded={inspectorShown || sheet}
        aria-controls="inspector"
        className="max-sm:hidden"
        onClick={() => (matchMedia('(min-width: 960px)').matches ? set({ inspectorShown: !inspectorShown }) : setPanes({ inspector: !sheet }))}
      >
        <PanelRight size={16} />
      </IconButton>
      {erasing && session && (
        <EraseDialog
          name={session.name}
          close={() => setErasing(false)}
          erase={() => void commands.erase().then((done) => (done ? navigate({ to: '/sessions', search: {} }) : undefined))}
        />
      )}
    </header>
  )
}

const sameAs = (agent: string, session: { agent_version: number; initial_context: object }): NewSearch => ({
  agent,
  version: session.agent_version,
  ...Object.fromEntries(
    Object.entries(session.initial_context)
      .filter(([, value]) => value !== null)
      .map(([name, value]) => [`ctx.${name}`, typeof value === 'string' ? value : JSON.stringify(value)]),
  ),
})

/** Confirms an erasure, which cannot be undone: the user types the session's name first. */
export function EraseDialog({ name, close, erase }: { name: string; close: () => void; erase: () => void }) {
  const [typed, setTyped] = useState('')
  return (
    <Dialog title="Erase this session" onClose={close}>
      <p>
        All that was said, its branches and its events are deleted, here and in Temporal. What it cost stays in the ledger, as figures
        without words. This cannot be undone.
      </p>
      <label className="mt-3 block text-list text-muted">
        Type <strong className="font-semibold text-text">{name}</strong> to erase it
        <input value={typed} onChange={(event) => setTyped(event.target.value)} className="field mt-1 w-full" autoFocus />
      </label>
      <div className="mt-3 flex justify-end gap-2">
        <Button onClick={close}>Keep it</Button>
        <Button look="danger" disabled={typed !== name} onClick={erase}>
          Erase
        </Button>
      </div>
    </Dialog>
  )
}
