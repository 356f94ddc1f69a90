/** ⌘K: places, sessions, agents, and what the keys do. */
import { Autocomplete } from '@base-ui/react/autocomplete'
import { useNavigate } from '@tanstack/react-router'
import { useMemo, useState } from 'react'
import { KEYS, keyOf, type Action } from '../keys.ts'
import { useAgents, useSessionList } from '../sessions/queries.ts'
import { Dialog, Key } from './controls.tsx'
import { useOffered } from './offers.ts'

interface Entry {
  value: string
  label: string
  kind: string
  hint: string
  run: () => void
}

export default function Palette({ close }: { close: () => void }) {
  const navigate = useNavigate()
  const sessions = useSessionList({})
  const agents = useAgents()
  const { offers, finder } = useOffered()
  const [words, setWords] = useState('')
  const entries = useMemo((): Entry[] => {
    const places: Entry[] = [
      { value: 'new', label: 'New session', kind: 'Do', hint: keyOf('newSession'), run: () => void navigate({ to: '/sessions/new', search: {} }) },
      { value: 'suites', label: 'Suites', kind: 'Go', hint: keyOf('goSuites'), run: () => void navigate({ to: '/suites' }) },
      { value: 'new suite', label: 'New suite', kind: 'Do', hint: '', run: () => void navigate({ to: '/suites/new' }) },
      { value: 'agents', label: 'Agents', kind: 'Go', hint: keyOf('goAgents'), run: () => void navigate({ to: '/agents' }) },
      { value: 'new agent', label: 'Upload an agent', kind: 'Do', hint: '', run: () => void navigate({ to: '/agents/new' }) },
      { value: 'usage', label: 'Usage', kind: 'Go', hint: keyOf('goUsage'), run: () => void navigate({ to: '/usage' }) },
      { value: 'settings', label: 'Settings', kind: 'Go', hint: '', run: () => void navigate({ to: '/settings' }) },
    ]
    // What a key does here is done by pressing it for the person.
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
    const here = offers.map(({ label, run }): Entry => ({ value: `here ${label}`, label, kind: 'Do', hint: '', run }))
    return [...here, ...places, ...known, ...keys, ...open]
  }, [sessions.data, agents.data, offers, navigate])
  const turns = useMemo(
    () => (words.trim() && finder ? finder(words.trim()) : []).map(({ label, run }): Entry => ({ value: `turn ${label}`, label, kind: 'Turn', hint: '', run })),
    [finder, words],
  )

  return (
    <Dialog title="Go to" onClose={close}>
      <Autocomplete.Root items={[...entries, ...turns]} value={words} onValueChange={setWords} open inline autoHighlight="always" itemToStringValue={(entry: Entry) => `${entry.label} ${entry.hint}`}>
        <Autocomplete.Input autoFocus placeholder="Commands, sessions, agents, turns" className="field w-full" aria-label="Commands, sessions, agents, turns" />
        <Autocomplete.Empty className="text-list text-muted">
          <p className="py-3">Nothing fits.</p>
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
      </Autocomplete.Root>
    </Dialog>
  )
}
