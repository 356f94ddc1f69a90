/** The conversation: a virtual list of turns, the playhead above it, the composer below. */
import { defaultRangeExtractor, useVirtualizer } from '@tanstack/react-virtual'
import { Link, useNavigate } from '@tanstack/react-router'
import { ArrowDown } from 'lucide-react'
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from 'react'
import { sessions } from '../api/routes.ts'
import type { JsonObject, Page, TreeTurn, Turn } from '../api/types.ts'
import { pathTo, type SessionHead } from '../timeline/reduce.ts'
import { useKeys } from '../keys.ts'
import { usePreferences } from '../settings/preferences.ts'
import { add, amountOf, NOTHING, shown } from '../timeline/money.ts'
import { family, leafBeneath } from '../timeline/siblings.ts'
import { useSession, type SessionStore } from '../timeline/store.ts'
import { variablesAt } from '../timeline/variables.ts'
import { announce, warn } from '../ui/announce.tsx'
import { Button } from '../ui/controls.tsx'
import { useFinder } from '../ui/offers.ts'
import { copy, download, Empty, Loading, ProblemNote } from '../ui/states.tsx'
import { showToast } from '../ui/toast.tsx'
import { duration, plural, reason } from '../words.ts'
import { Approvals, BranchBanner, ClientCalls, ConflictBanner, LinkBar, RewoundBar } from './Banners.tsx'
import { isOwn, seenOwn, useCommands } from './commands.ts'
import { Composer } from './Composer.tsx'
import { FindBar } from './FindBar.tsx'
import { reconcile } from './outbox.ts'
import { PlayheadBar } from './PlayheadBar.tsx'
import type { Selection } from './selection.ts'
import { Strip } from './Strip.tsx'
import { useQuotes } from './quotes.ts'
import { RowContext, TurnRow } from './TurnRow.tsx'
import { troubleOf, useView } from './view.ts'

/** Silence longer than this gets a row of its own. */
const GAP_SECONDS = 120
const END_THRESHOLD = 48
const OLDER_HEIGHT = 32
/** Room above the first turn, where its actions lie. */
const TOP_ROOM = 20
/** Turns that ⌘K lists at most. */
const MAX_FOUND = 20
const NOTHING_QUOTED: ReadonlySet<string> = new Set()

type Item =
  | { kind: 'gap'; key: string; seconds: number }
  | { kind: 'turn'; key: string; at: number }
  | { kind: 'rewound'; key: string }

const endOf = (turn: Turn): number => Date.parse(turn.assistant_message?.created_at ?? turn.created_at)

function itemsOf(path: readonly string[], turns: ReadonlyMap<string, Turn>, rewound: boolean): Item[] {
  const items: Item[] = []
  path.forEach((id, at) => {
    const [turn, before] = [turns.get(id), turns.get(path[at - 1] ?? '')]
    if (turn && before) {
      const seconds = (Date.parse(turn.created_at) - endOf(before)) / 1000
      if (seconds >= GAP_SECONDS) items.push({ kind: 'gap', key: `gap ${id}`, seconds })
    }
    items.push({ kind: 'turn', key: id, at })
  })
  if (rewound) items.push({ kind: 'rewound', key: 'rewound' })
  return items
}

export function Conversation({ store, selection, again }: { store: SessionStore; selection: Selection; again: () => void }) {
  const { id } = store.getState()
  const { go, branch: branchId, turn: chosen, find } = selection
  const navigate = useNavigate()
  const commands = useCommands(store)
  const timeline = useSession(store, (state) => state.timeline)
  const problem = useSession(store, (state) => state.problem)
  const loadingOlder = useSession(store, (state) => state.loadingOlder)
  const olderCursor = useSession(store, (state) => state.olderCursor)
  const view = useView(store, branchId)
  const { path, mode, byParent } = view
  const { turns, session } = timeline
  const quotes = useQuotes(session, selection.quoted !== undefined)
  const quoted = useMemo(() => (selection.quoted ? new Set(selection.quoted.split(',')) : NOTHING_QUOTED), [selection.quoted])

  const first = turns.get(path[0] ?? '')
  const hasOlder = first !== undefined && first.index > 0 && olderCursor !== null
  const rewound = mode === 'active' && timeline.cursor !== null
  const times = useMemo(() => path.map((each) => turns.get(each)?.created_at ?? '').join(), [path, turns])
  const items = useMemo(() => itemsOf(path, turns, rewound), [path, times, rewound]) // eslint-disable-line
  const selectedId = chosen && path.includes(chosen) ? chosen : (path.at(-1) ?? null)
  const selectedAt = selectedId === null ? -1 : path.indexOf(selectedId)
  const itemAt = useCallback((turn: string) => items.findIndex((item) => item.key === turn), [items])

  const scroller = useRef<HTMLDivElement>(null)
  // Empty space below a branch that is too short to keep a switched turn at its position on the screen.
  const [room, setRoom] = useState(0)
  const virtualizer = useVirtualizer({
    count: items.length,
    getScrollElement: () => scroller.current,
    estimateSize: (at) => (items[at]?.kind === 'turn' ? 132 : 32),
    getItemKey: (at) => items[at]?.key ?? at,
    anchorTo: 'end',
    followOnAppend: true,
    scrollEndThreshold: END_THRESHOLD,
    // Room for the line that says how many turns came before; it is no row, so that the rows keep their place.
    paddingStart: hasOlder ? OLDER_HEIGHT : TOP_ROOM,
    paddingEnd: room,
    overscan: 6,
    // The focused row stays mounted, so that focus is not lost when rows are recycled.
    rangeExtractor: (range) => {
      const rows = defaultRangeExtractor(range)
      const kept = selectedId === null ? -1 : itemAt(selectedId)
      return kept === -1 || rows.includes(kept) ? rows : [...rows, kept].sort((a, b) => a - b)
    },
  })

  const [flash, setFlash] = useState<string | null>(null)
  const show = useCallback(
    (turn: string, align: 'start' | 'auto' | 'center' = 'auto') => {
      const at = itemAt(turn)
      if (at !== -1) virtualizer.scrollToIndex(at, { align })
    },
    [itemAt, virtualizer],
  )

  // Landing: at the turn that the link names, flashed once; else at the end.
  const landed = useRef<string | null>(null)
  /** Landed at the end, and the user has not moved since: rows taller than estimated do not push the end away. */
  const atEnd = useRef(false)
  const pinned = useRef<{ turn: string; offset: number; leaf: string | undefined } | null>(null)
  const moved = useCallback(() => {
    atEnd.current = false
    pinned.current = null
  }, [])
  const landing = `${id} ${branchId ?? ''}`
  useLayoutEffect(() => {
    if (items.length === 0 || landed.current === landing) return
    if (landed.current?.split(' ')[0] === id) {
      landed.current = landing
      return
    }
    if (chosen && !path.includes(chosen)) return
    landed.current = landing
    if (chosen) {
      show(chosen, 'start')
      setFlash(chosen)
      setTimeout(() => setFlash(null), 1_300)
    } else {
      atEnd.current = true
      virtualizer.scrollToEnd()
    }
  }, [items, landing, chosen, path, id, show, virtualizer])

  // A link to a turn that is not loaded, or that stands on another branch.
  const wasSeen = useRef<string | null>(null)
  useEffect(() => {
    if (chosen && path.includes(chosen)) wasSeen.current = chosen
  })
  const [searching, setSearching] = useState(false)
  const [lostTurn, setLostTurn] = useState(false)
  const loaded = session !== null
  useEffect(() => {
    setLostTurn(false)
    if (!chosen || !loaded || path.includes(chosen)) return
    let gone = false
    const elsewhere = (): boolean => {
      const { timeline: now } = store.getState()
      if (!now.turns.has(chosen)) return false
      // The user's own edit, regeneration or rewind removed the turn from the branch: the view goes on with the result.
      if (branchId === undefined && wasSeen.current === chosen && isOwn(id)) {
        go({ turn: undefined }, { replace: true })
        return true
      }
      if (now.visible.includes(chosen)) go({ branch: undefined }, { replace: true })
      else if (now.hidden.includes(chosen)) go({ branch: 'hidden' }, { replace: true })
      else {
        const leaf = leafBeneath(byParent, chosen, new Set())
        go({ branch: `br_${leaf.replace(/^turn_/, '')}` }, { replace: true })
      }
      return true
    }
    if (elsewhere()) return
    setSearching(true)
    void store.actions
      .reach(chosen)
      .then((found) => !gone && (found ? elsewhere() : setLostTurn(true)))
      .finally(() => !gone && setSearching(false))
    return () => {
      gone = true
    }
  }, [store, id, branchId, chosen, loaded, path, byParent, go])

  // Older turns are loaded when the user scrolls near them.
  const firstShown = virtualizer.getVirtualItems()[0]?.index ?? 1
  useEffect(() => {
    if (hasOlder && firstShown === 0 && landed.current !== null && !loadingOlder) void store.actions.loadOlder()
  }, [store, hasOlder, firstShown, loadingOlder])

  // Turns that arrived while the user reads further up.
  const [away, setAway] = useState(false)
  const measureAway = useCallback(() => {
    const box = scroller.current
    if (box) setAway(box.scrollHeight - box.scrollTop - box.clientHeight > END_THRESHOLD)
  }, [])
  const total = virtualizer.getTotalSize()
  useLayoutEffect(() => {
    if (atEnd.current) virtualizer.scrollToEnd()
  }, [virtualizer, total])
  useEffect(() => {
    // Rows are measured after they are mounted, so the end is known a frame later.
    const frame = requestAnimationFrame(() => {
      const box = scroller.current
      if (atEnd.current && box) box.scrollTop = box.scrollHeight
      measureAway()
    })
    return () => cancelAnimationFrame(frame)
  }, [measureAway, total])
  const seen = useRef(path.length)
  useEffect(() => {
    if (!away) seen.current = path.length
  }, [away, path.length])
  const fresh = away ? Math.max(0, path.length - seen.current) : 0

  // A switched turn keeps its position on the screen, even if rows differ from their estimates, until the user moves.
  const newest = path.at(-1)
  useLayoutEffect(() => {
    const pin = pinned.current
    if (!pin) return
    const at = itemAt(pin.turn)
    const box = scroller.current
    if (at === -1 || !box) return
    pin.leaf ??= newest
    if (pin.leaf !== newest) {
      pinned.current = null
      return
    }
    const offset = Math.max(0, (virtualizer.measurementsCache[at]?.start ?? 0) - pin.offset)
    const missing = Math.max(0, offset + box.clientHeight - (total - room))
    if (Math.abs(missing - room) > 0.5) return setRoom(missing)
    if (Math.abs(box.scrollTop - offset) > 0.5) virtualizer.scrollToOffset(offset)
  }, [itemAt, virtualizer, newest, room, total])

  const select = useCallback((turn: string, replace = false) => go({ turn }, { replace }), [go])
  const move = useCallback(
    (turn: string | undefined, align: 'auto' | 'center' | 'start' = 'auto') => {
      if (!turn) return
      moved()
      select(turn, true)
      show(turn, align)
      requestAnimationFrame(() => document.querySelector<HTMLElement>(`[data-turn="${turn}"]`)?.focus({ preventScroll: true }))
    },
    [select, show, moved],
  )
  const moveTo = useCallback((at: number) => move(path[Math.min(path.length - 1, Math.max(0, at))]), [move, path])

  // Moves to a turn of the whole branch; older turns are loaded first if needed. Only the newest request counts.
  const offset = first?.index ?? 0
  const leaf = path.at(-1) ?? null
  const wanted = useRef<number | null>(null)
  const [aim, setAim] = useState<string | null>(null)
  const moveToIndex = useCallback(
    async (index: number): Promise<void> => {
      if (index >= offset) return moveTo(index - offset)
      const isUnderWay = wanted.current !== null
      wanted.current = Math.max(0, index)
      if (isUnderWay) return
      for (;;) {
        const { timeline: now, olderCursor: more, problem: trouble } = store.getState()
        const known = pathTo(now.turns, leaf)
        const from = now.turns.get(known[0] ?? '')?.index ?? 0
        const turn = known[wanted.current - from]
        if (turn === undefined && more !== null && trouble === null) {
          await store.actions.loadOlder()
          continue
        }
        wanted.current = null
        return setAim(turn ?? known[0] ?? null)
      }
    },
    [store, offset, leaf, moveTo],
  )
  useEffect(() => {
    if (aim === null || !path.includes(aim)) return
    setAim(null)
    move(aim, 'center')
  }, [aim, path, move])

  const findHere = useCallback(
    (words: string) => {
      const wanted = words.toLowerCase()
      const { turns: known } = store.getState().timeline
      return path
        .flatMap((each) => known.get(each) ?? [])
        .flatMap((turn) => {
          const texts = [turn.user_message?.text, turn.assistant_message?.text].filter((text) => text !== undefined)
          const where = `#${turn.index}`.includes(wanted) ? texts[0] : texts.find((text) => text.toLowerCase().includes(wanted))
          return where === undefined ? [] : [{ turn, label: `#${turn.index} ${excerpt(where, wanted)}` }]
        })
        .slice(-MAX_FOUND)
        .map(({ turn, label }) => ({ id: turn.id, index: turn.index, label, run: () => move(turn.id, 'center') }))
    },
    [store, path, move],
  )
  const findEverywhere = useCallback(
    async (words: string, signal: AbortSignal) => {
      const found: TreeTurn[] = []
      let cursor: string | null = null
      do {
        const page: Page<TreeTurn> = await sessions.tree(id, { q: words, cursor }, { signal })
        found.push(...page.items)
        cursor = page.next_cursor
      } while (cursor !== null && found.length < MAX_FOUND)
      const reveal = (turn: TreeTurn): void => {
        const seen = pathOf.current.includes(turn.id)
        if (!seen) go({ turn: turn.id, branch: turn.branch === 'active' ? undefined : turn.branch }, { replace: true })
        setAim(turn.id)
      }
      return {
        found: found.map((turn) => ({
          id: turn.id,
          index: turn.index,
          label: `#${turn.index} ${turn.text}${turn.branch === 'active' ? '' : turn.branch === 'hidden' ? ' · out of sight' : ' · discarded'}`,
          run: () => reveal(turn),
        })),
        more: cursor !== null,
      }
    },
    [id, go],
  )
  const pathOf = useRef(path)
  useEffect(() => {
    pathOf.current = path
  })
  useFinder(useMemo(() => ({ here: findHere, everywhere: findEverywhere }), [findHere, findEverywhere]))

  const branchPoints = useMemo(
    () => new Set([...byParent].filter(([parent, list]) => parent !== null && list.length > 1).flatMap(([, list]) => list.map((turn) => turn.id))),
    [byParent],
  )
  const ofPath = useMemo(() => path.map((each) => turns.get(each)), [path, turns])
  const nextWhere = (step: number, test: (turn: Turn) => boolean): void => {
    for (let at = selectedAt + step; at >= 0 && at < path.length; at += step) {
      const turn = ofPath[at]
      if (turn && test(turn)) return moveTo(at)
    }
  }

  const sibling = useCallback(
    (turnId: string, step: number) => {
      const turn = store.getState().timeline.turns.get(turnId)
      if (!turn) return
      const { all, at } = family(byParent, turn)
      const next = all[at + step]
      if (!next) return
      const now = store.getState().timeline
      const start = virtualizer.measurementsCache[itemAt(turnId)]?.start ?? 0
      atEnd.current = false
      // The real scroll position: the virtualizer keeps the offset it requested even if there was nothing to scroll.
      pinned.current = { turn: next, offset: start - (scroller.current?.scrollTop ?? 0), leaf: undefined }
      if (now.visible.includes(next)) return go({ branch: undefined, turn: next })
      if (now.hidden.includes(next)) return go({ branch: 'hidden', turn: next })
      const leaf = leafBeneath(byParent, next, new Set([...now.visible, ...now.hidden]))
      go({ branch: `br_${leaf.replace(/^turn_/, '')}`, turn: next })
    },
    [store, byParent, go, virtualizer, itemAt],
  )

  const [editing, setEditing] = useState<string | null>(null)
  useEffect(() => {
    if (editing !== null && !path.includes(editing)) setEditing(null)
  }, [editing, path])
  const [unfoldings, setUnfoldings] = useState<{ all: number; one: ReadonlyMap<string, number> }>({ all: 0, one: new Map() })
  const ended = timeline.ended
  const mayAct = mode === 'active' && !ended && loaded
  const fork = useCallback(
    (turn: string | undefined) =>
      void commands.fork(turn).then((made) => made && navigate({ to: '/sessions/$id', params: { id: made.id }, search: {} })),
    [commands, navigate],
  )
  const leave = useCallback(() => {
    setRoom(0)
    go({ branch: undefined, turn: undefined })
  }, [go])

  useKeys({
    nextTurn: () => moveTo(selectedAt + 1),
    previousTurn: () => moveTo(selectedAt - 1),
    firstTurn: () => void moveToIndex(0),
    lastTurn: () => moveTo(path.length - 1),
    nextProblem: () => nextWhere(1, (turn) => troubleOf(turn) !== null || quoted.has(turn.id)),
    previousProblem: () => nextWhere(-1, (turn) => troubleOf(turn) !== null || quoted.has(turn.id)),
    nextBranchPoint: () => nextWhere(1, (turn) => branchPoints.has(turn.id)),
    previousBranchPoint: () => nextWhere(-1, (turn) => branchPoints.has(turn.id)),
    ...(selectedId !== null && {
      previousSibling: () => sibling(selectedId, -1),
      nextSibling: () => sibling(selectedId, 1),
      fork: () => fork(selectedId),
      copyLink: () => commands.copyLink(selectedId),
      copyText: () => {
        const turn = turns.get(selectedId)
        void copy([turn?.user_message?.text, turn?.assistant_message?.text].filter(Boolean).join('\n'), 'Text copied')
      },
      unfold: () => setUnfoldings(({ all, one }) => ({ all, one: new Map(one).set(selectedId, (one.get(selectedId) ?? all) + 1) })),
    }),
    unfoldAll: () => setUnfoldings(({ all }) => ({ all: all + 1, one: new Map() })),
    ...(mayAct &&
      selectedId !== null && {
        edit: () => turns.get(selectedId)?.user_message && setEditing(selectedId),
        rewindTo: () => void commands.rewind(selectedId),
        rewindBefore: () => void commands.rewind(selectedId, true),
        tryAgain: () => void commands.tryAgain(selectedId),
        undo: () => timeline.cursor && void commands.rewind(null),
      }),
    ...(view.branch &&
      !ended && { makeActive: () => view.branch && void commands.restore(view.branch.id).then((done) => done && leave()) }),
    ...(view.branch && {
      compare: () => void navigate({ to: '/compare', search: { a: `${id}@${view.branch?.id ?? ''}`, b: `${id}@active` } }),
    }),
    markdown: () => usePreferences.getState().set({ markdown: !usePreferences.getState().markdown }),
    find: () => go({ find: find ?? '' }, { replace: true }),
  })

  // Report a change that this page did not request.
  const log = useSession(store, (state) => state.log)
  const reportedSeq = useRef<number | null>(null)
  useEffect(() => {
    if (!loaded) return
    const from = reportedSeq.current ?? timeline.seq
    reportedSeq.current = Math.max(from, timeline.seq)
    for (const { seq, type, data } of log) {
      if (seq === null || seq <= from || (type !== 'rewound' && type !== 'branch_restored')) continue
      const words = type === 'rewound' ? 'Rewind' : 'Make active'
      if (isOwn(id, words)) {
        seenOwn(id, words)
        continue
      }
      const to = turns.get(String(data['cursor_turn_id'] ?? ''))
      if (type === 'branch_restored') showToast('Somebody else made another branch active.')
      else if (data['cleared'] === true) showToast('Somebody else took the rewind back.')
      else showToast(`Somebody else rewound this session to ${to ? `#${to.index}` : 'its start'}.`)
    }
  }, [loaded, id, log, timeline.seq, turns])

  // Screen readers announce every reply once, when it is complete.
  const announcedTurns = useRef<{ settled: ReadonlySet<string>; pending: ReadonlySet<string>; from: number } | null>(null)
  useEffect(() => {
    if (!loaded) return
    const shown = timeline.visible.flatMap((turn) => turns.get(turn) ?? [])
    const pending = new Set(shown.filter((turn) => turn.status === 'pending').map((turn) => turn.id))
    const settled = new Set([...turns.values()].filter((turn) => turn.status !== 'pending').map((turn) => turn.id))
    const before = announcedTurns.current
    announcedTurns.current = { settled, pending, from: before?.from ?? shown[0]?.index ?? 0 }
    if (before === null) return
    // A quick reply may be complete before it was seen pending; older turns that are loaded later are not new replies.
    const over = shown.filter((turn) => turn.status !== 'pending' && !before.settled.has(turn.id) && turn.index >= before.from)
    for (const turn of over) if (turn.status === 'failed') warn(`The reply failed. ${turn.error ?? ''}`)
    const announcements = over.filter((turn) => turn.status !== 'failed').map(announcementOf)
    if (announcements.length > 0) announce(announcements.join(' '))
    else if ([...pending].some((turn) => !before.pending.has(turn))) announce('Agent is answering')
  }, [loaded, timeline.visible, turns])

  useEffect(() => {
    const ids = new Set<string>()
    const rejected = new Map<string, string>()
    for (const turn of turns.values()) {
      if (turn.user_message?.message_id) ids.add(turn.user_message.message_id)
      for (const { type, payload } of turn.events)
        if (type === 'command_refused' && typeof payload['message_id'] === 'string') rejected.set(payload['message_id'], String(payload['code']))
    }
    reconcile(ids, rejected)
  }, [turns])

  const context = useMemo<RowContext>(
    () => ({
      store,
      commands,
      mayAct,
      ended,
      editing,
      edit: setEditing,
      select,
      fork,
      sibling,
      familyOf: (turn) => {
        const { all, at } = family(byParent, turn)
        return { at, size: all.length }
      },
      laterThan: (turn) => {
        const from = path.indexOf(turn)
        const rest = path.slice(from).flatMap((each) => store.getState().timeline.turns.get(each) ?? [])
        return { turns: rest.length - 1, cost: shown(add(NOTHING, ...rest.map((each) => amountOf(each.cost)))) }
      },
      variablesBefore: (turn) => {
        const { timeline: now } = store.getState()
        const known = path.slice(0, path.indexOf(turn)).flatMap((each) => now.turns.get(each) ?? [])
        return Object.fromEntries(variablesAt(now.session?.initial_context ?? {}, known).map(({ name, value }) => [name, value])) as JsonObject
      },
      unfolded: (turn) => unfoldings.one.get(turn) ?? unfoldings.all,
    }),
    [store, commands, mayAct, ended, editing, select, fork, sibling, byParent, path, unfoldings],
  )

  const closed =
    ended && session ? (
      <EndNote session={session} turns={(first?.index ?? 0) + path.length} fork={() => fork(path.at(-1))} again={again} />
    ) : null

  if (!loaded && problem)
    return problem.status === 404 ? (
      <Empty title="This session is not here">
        <p>It was erased, or belongs to another organization. What it cost is still in the ledger.</p>
        <Link to="/sessions" search={{}} className="mt-3 inline-block text-accent underline">
          To the sessions
        </Link>
      </Empty>
    ) : (
      <ProblemNote error={problem} retry={() => store.actions.retry()} />
    )

  return (
    <RowContext.Provider value={context}>
      <div className="border-b border-line px-3 py-0.5 sm:px-4">
        <PlayheadBar turns={ofPath} at={Math.max(0, selectedAt)} offset={offset} move={moveToIndex} />
      </div>
      <LinkBar store={store} />
      <ConflictBanner session={id} />
      {find !== undefined && (
        <FindBar
          store={store}
          path={path}
          initial={find}
          whole={!hasOlder}
          show={(turn) => {
            select(turn, true)
            show(turn, 'center')
          }}
          close={() => {
            go({ find: undefined }, { replace: true })
            document.querySelector<HTMLElement>('[data-selected]')?.focus({ preventScroll: true })
          }}
          changed={(word) => go({ find: word }, { replace: true })}
        />
      )}
      {lostTurn && (
        <p role="status" className="border-b border-line bg-warn-tint px-4 py-1 text-list">
          The turn of this link is not in this session.{' '}
          <Button look="quiet" onClick={() => go({ turn: undefined }, { replace: true })}>
            Go to the end
          </Button>
        </p>
      )}
      <div className="relative flex min-h-0 flex-1">
        <div
          ref={scroller}
          data-conversation
          tabIndex={-1}
          className="min-w-0 flex-1 overflow-y-auto overscroll-contain [overflow-anchor:none]"
          onScroll={measureAway}
          onWheel={moved}
          onTouchMove={moved}
          onPointerDown={moved}
          onKeyDown={moved}
        >
          {!loaded || view.state === 'loading' || (searching && path.length === 0) ? (
            <Loading rows={5} height={88} label="Loading the conversation" />
          ) : view.state === 'missing' ? (
            <Empty title="This branch is not here any more">
              <Button onClick={leave}>Show the active branch</Button>
            </Empty>
          ) : path.length === 0 && !rewound ? (
            <Empty title={session.status === 'pending_assistant_turn' ? 'The greeting is coming' : 'This agent opens in silence'}>
              Say something.
            </Empty>
          ) : (
            <ol aria-label="Conversation" className="relative w-full" style={{ height: total }}>
              {hasOlder && (
                <li className="absolute top-0 left-0 flex h-8 w-full items-center justify-center text-meta text-muted">
                  {loadingOlder ? 'Loading earlier turns' : plural(first?.index ?? 0, 'earlier turn')}
                </li>
              )}
              {virtualizer.getVirtualItems().map((virtual) => {
                const item = items[virtual.index]
                if (!item) return null
                return (
                  <li
                    key={item.key}
                    ref={virtualizer.measureElement}
                    data-index={virtual.index}
                    className="absolute top-0 left-0 w-full"
                    style={{ transform: `translateY(${virtual.start}px)` }}
                  >
                    {item.kind === 'turn' ? (
                      <TurnRow
                        turnId={item.key}
                        before={path[item.at - 1] ?? null}
                        position={(first?.index ?? 0) + item.at + 1}
                        total={(first?.index ?? 0) + path.length}
                        selected={item.key === selectedId}
                        quoted={quoted.has(item.key)}
                        quotes={quotes.get(item.key)}
                        flash={item.key === flash}
                      />
                    ) : item.kind === 'gap' ? (
                      <p className="flex h-8 items-center gap-3 px-6 text-meta text-faint">
                        <span className="h-px flex-1 bg-line" />
                        {duration(item.seconds)} of silence
                        <span className="h-px flex-1 bg-line" />
                      </p>
                    ) : (
                      <RewoundBar store={store} commands={commands} show={() => go({ branch: 'hidden' })} />
                    )}
                  </li>
                )
              })}
            </ol>
          )}
        </div>
        <Strip turns={ofPath} offset={offset} branchPoints={branchPoints} quoted={quoted} jump={moveToIndex} />
        {away && path.length > 0 && (
          <Button
            className="absolute right-6 bottom-3 rounded-full shadow-layer"
            onClick={() => {
              virtualizer.scrollToEnd()
              go({ turn: undefined }, { replace: true })
            }}
          >
            {fresh > 0 ? `${fresh} new` : 'End'} <ArrowDown size={14} />
          </Button>
        )}
      </div>
      {mode === 'active' && <Approvals store={store} commands={commands} />}
      {mode === 'active' && <ClientCalls store={store} commands={commands} />}
      {mode !== 'active' ? (
        // Takes the place of the composer, so that the turns above do not move when another branch is shown.
        <BranchBanner view={view} store={store} commands={commands} leave={leave} fork={() => fork(path.at(-1))} />
      ) : (
      <Composer
        store={store}
        sent={() => {
          setRoom(0)
          go({ turn: undefined }, { replace: true })
          virtualizer.scrollToEnd()
        }}
        commands={commands}
        closed={closed}
        editLast={() => {
          const last = [...path].reverse().find((turn) => turns.get(turn)?.user_message)
          if (last && mayAct) setEditing(last)
        }}
      />
      )}
    </RowContext.Provider>
  )
}

/** About a line of a text, from shortly before the given words. */
function excerpt(text: string, words: string): string {
  const at = text.toLowerCase().indexOf(words)
  const from = at < 40 ? 0 : at - 20
  return `${from > 0 ? '…' : ''}${text.slice(from, from + 100).replace(/\s+/g, ' ')}`
}

/** A reply as screen readers announce it: whole, or its length if it is long. */
function announcementOf(turn: Turn): string {
  const text = turn.assistant_message?.text ?? ''
  const how = turn.status === 'interrupted' ? 'Agent, interrupted' : 'Agent'
  return text.length > 300 ? `${how}: ${text.length} characters, at ${turn.node_id ?? 'its node'}.` : `${how}: ${text}`
}

/** How the session ended, with the actions that remain. */
function EndNote({ session, turns, fork, again }: { session: SessionHead; turns: number; fork: () => void; again: () => void }) {
  return (
    <span className="flex flex-wrap items-center gap-x-3 gap-y-1">
      <span className="flex-1 max-sm:basis-full">
        Ended: {reason(session.completion_reason ?? '')}
        {session.disposition && session.disposition !== session.completion_reason && ` (${reason(session.disposition)})`} ·{' '}
        {plural(turns, 'turn')} · <span className="text-money">{shown(amountOf(session.cost))}</span>
      </span>
      <Button onClick={() => void download(sessions.transcript(session.id, 'markdown'), `${session.name}.md`)}>Export</Button>
      <Button onClick={fork}>Fork</Button>
      <Button onClick={again}>Again</Button>
    </span>
  )
}
