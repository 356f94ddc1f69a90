/** ⌘K: places, sessions, agents, and what the keys do. */
import { Autocomplete } from '@base-ui/react/autocomplete'
import { useQuery } from '@tanstack/react-query'
import { useNavigate } from '@tanstack/react-router'
import { useEffect, useMemo, useState } from 'react'
import { asProblem } from '../api/problems.ts'
import { KEYS, keyOf, type Action } from '../keys.ts'
import { useAgents, useSessionList } from '../sessions/queries.ts'
import { Dialog, Key } from './controls.tsx'
import { useViewCommands } from './offers.ts'

interface Entry {
  value: string
  label: string
  kind: string
  hint: string
  run: () => void
  /** The words of the search, for an entry whose label may not contain them. */
  words?: string
}

/** With fewer letters not all turns are searched: too many would match. */
const MIN_LETTERS = 2
const TYPING_MS = 150

/** The typed words, debounced. */
function useSettled(words: string): string {
  const [settled, settle] = useState(words)
  useEffect(() => {
    const timer = setTimeout(() => settle(words), TYPING_MS)
    return () => clearTimeout(timer)
  }, [words])
  return settled
}

export default function Palette({ close }: { close: () => void }) {
  const navigate = useNavigate()
  const sessions = useSessionList({})
  const agents = useAgents()
  const { viewCommands, finder } = useViewCommands()
  const [words, setWords] = useState('')
  const entries = useMemo((): Entry[] => {
    const places: Entry[] = [
      { value: 'new', label: 'New session', kind: 'Do', hint: keyOf('newSession'), run: () => void navigate({ to: '/sessions/new', search: {} }) },
      { value: 'sessions', label: 'Sessions', kind: 'Go', hint: keyOf('goSessions'), run: () => void navigate({ to: '/sessions', search: {} }) },
      { value: 'suites', label: 'Suites', kind: 'Go', hint: keyOf('goSuites'), run: () => void navigate({ to: '/suites' }) },
      { value: 'new suite', label: 'New suite', kind: 'Do', hint: '', run: () => void navigate({ to: '/suites/new' }) },
      { value: 'agents', label: 'Agents', kind: 'Go', hint: keyOf('goAgents'), run: () => void navigate({ to: '/agents' }) },
      { value: 'new agent', label: 'Upload an agent', kind: 'Do', hint: '', run: () => void navigate({ to: '/agents/new' }) },
      { value: 'usage', label: 'Usage', kind: 'Go', hint: keyOf('goUsage'), run: () => void navigate({ to: '/usage' }) },
      { value: 'settings', label: 'Settings', kind: 'Go', hint: '', run: () => void navigate({ to: '/settings' }) },
    ]
    // An action that has a key runs through a synthetic press of this key.
    const keys = (Object.keys(KEYS) as Action[])
      .filter((action) => KEYS[action].group !== 'Going' && !KEYS[action].keys[0]?.includes(' '))
      .map((action): Entry => {
        const key = KEYS[action].keys[0] ?? ''
        return {
          value: action,
          label: KEYS[action].words,
          kind: 'Key',
          hint: keyOf(action),
          run: () => setTimeout(() => document.body.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }))),
        }
      })
    const open = (sessions.data?.pages ?? []).flatMap((page) =>
      page.items.map((session): Entry => ({
        value: session.id,
        label: `${session.name}`,
        kind: 'Session',
        hint: session.id,
        run: () => void navigate({ to: '/sessions/$id', params: { id: session.id }, search: {} }),
      })),
    )
    const known = (agents.data?.items ?? []).map((agent): Entry => ({
      value: agent.id,
      label: agent.name,
      kind: 'Agent',
      hint: `v${agent.version}`,
      run: () => void navigate({ to: '/agents/$name', params: { name: agent.name }, search: {} }),
    }))
    const here = viewCommands.map(({ label, run }): Entry => ({ value: `here ${label}`, label, kind: 'Do', hint: '', run }))
    return [...here, ...places, ...known, ...keys, ...open]
  }, [sessions.data, agents.data, viewCommands, navigate])
  const wanted = words.trim()
  const settledQuery = useSettled(wanted)
  const everywhere = useQuery({
    queryKey: ['found', location.pathname, settledQuery],
    queryFn: ({ signal }) => finder?.everywhere(settledQuery, signal) ?? { found: [], more: false },
    enabled: finder !== null && settledQuery.length >= MIN_LETTERS,
    staleTime: 10_000,
  })
  const isLooking = finder !== null && wanted.length >= MIN_LETTERS && (wanted !== settledQuery || everywhere.isPending)
  const turns = useMemo(() => {
    const found = new Map((wanted && finder ? finder.here(wanted) : []).map((each) => [each.id, each]))
    // Add the matches in turns that are not loaded or on other branches.
    if (wanted === settledQuery) for (const each of everywhere.data?.found ?? []) if (!found.has(each.id)) found.set(each.id, each)
    return [...found.values()].sort((a, b) => a.index - b.index).map(({ id, label, run }): Entry => ({ value: id, label, kind: 'Turn', hint: '', run, words: wanted }))
  }, [finder, wanted, settledQuery, everywhere.data])

  return (
    <Dialog title="Go to" onClose={close} atTop>
      <Autocomplete.Root items={[...entries, ...turns]} value={words} onValueChange={setWords} open inline autoHighlight="always" itemToStringValue={(entry: Entry) => `${entry.label} ${entry.hint} ${entry.words ?? ''}`}>
        <Autocomplete.Input autoFocus placeholder="Commands, sessions, agents, turns" className="field w-full" aria-label="Commands, sessions, agents, turns" />
        <Autocomplete.Empty className="text-list text-muted">
          {!isLooking && <p className="py-3">Nothing fits.</p>}
        </Autocomplete.Empty>
        <Autocomplete.List className="mt-2 max-h-[50dvh] overflow-auto">
          {(entry: Entry) => (
            <Autocomplete.Item
              key={entry.value}
              value={entry}
              onClick={() => {
                close()
                entry.run()
              }}
              className="target flex items-center gap-2 rounded-sm px-2 py-1 text-list data-[highlighted]:bg-hover"
            >
              <span className="w-14 text-meta text-faint">{entry.kind}</span>
              <span className="min-w-0 flex-1 truncate">{entry.label}</span>
              {entry.hint && (entry.kind === 'Session' ? <span className="font-mono text-meta text-faint">{entry.hint.slice(0, 12)}</span> : <Key>{entry.hint}</Key>)}
            </Autocomplete.Item>
          )}
        </Autocomplete.List>
        {finder && (
          <p role="status" className="min-h-5 pt-1 text-meta text-muted">
            {isLooking
              ? 'Looking through all turns …'
              : everywhere.isError
                ? `Only the turns that are loaded: ${asProblem(everywhere.error).title}`
                : wanted === settledQuery && everywhere.data?.more
                  ? `More turns have these words: ${keyOf('find')} finds them all.`
                  : ''}
          </p>
        )}
      </Autocomplete.Root>
    </Dialog>
  )
}
