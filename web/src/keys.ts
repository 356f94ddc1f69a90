/** Every key of the page, in one table; `?` shows it. Single letters work outside of fields only, and can be switched off. */
import { useEffect, useRef } from 'react'
import { usePreferences } from './settings/preferences.ts'

interface Binding {
  keys: readonly string[]
  group: 'Conversation' | 'Acting' | 'View' | 'Going' | 'Lists'
  words: string
}

const binding = <Table extends Record<string, Binding>>(table: Table): Table => table

/** `mod` is ⌘ on a Mac and Ctrl elsewhere; a space separates the keys of a sequence. */
export const KEYS = binding({
  nextTurn: { keys: ['j'], group: 'Conversation', words: 'Next turn' },
  previousTurn: { keys: ['k'], group: 'Conversation', words: 'Previous turn' },
  firstTurn: { keys: ['g g'], group: 'Conversation', words: 'First turn' },
  lastTurn: { keys: ['G'], group: 'Conversation', words: 'Last turn' },
  nextProblem: { keys: ['p'], group: 'Conversation', words: 'Next problem' },
  previousProblem: { keys: ['P'], group: 'Conversation', words: 'Previous problem' },
  nextBranchPoint: { keys: ['b'], group: 'Conversation', words: 'Next branch point' },
  previousBranchPoint: { keys: ['B'], group: 'Conversation', words: 'Previous branch point' },
  previousSibling: { keys: ['ArrowLeft'], group: 'Conversation', words: 'Other version before' },
  nextSibling: { keys: ['ArrowRight'], group: 'Conversation', words: 'Other version after' },
  find: { keys: ['/', 'mod+f'], group: 'Conversation', words: 'Find in the conversation' },
  edit: { keys: ['e'], group: 'Acting', words: 'Edit and send again' },
  rewindTo: { keys: ['r'], group: 'Acting', words: 'Rewind to this turn' },
  rewindBefore: { keys: ['R'], group: 'Acting', words: 'Rewind to before this turn' },
  undo: { keys: ['u'], group: 'Acting', words: 'Undo the rewind' },
  tryAgain: { keys: ['t'], group: 'Acting', words: 'Try again' },
  fork: { keys: ['f'], group: 'Acting', words: 'Fork from this turn' },
  makeActive: { keys: ['a'], group: 'Acting', words: 'Make the branch active' },
  stop: { keys: ['.'], group: 'Acting', words: 'Stop the reply' },
  compose: { keys: ['i'], group: 'Acting', words: 'Write' },
  copyLink: { keys: ['c'], group: 'Acting', words: 'Copy a link' },
  copyText: { keys: ['y'], group: 'Acting', words: 'Copy the text' },
  compare: { keys: ['v'], group: 'View', words: 'Compare with the active branch' },
  unfold: { keys: ['o'], group: 'View', words: 'Unfold the cards of the turn' },
  unfoldAll: { keys: ['O'], group: 'View', words: 'Unfold all cards' },
  markdown: { keys: ['m'], group: 'View', words: 'Show Markdown' },
  tab1: { keys: ['1'], group: 'View', words: 'Why' },
  tab2: { keys: ['2'], group: 'View', words: 'Graph' },
  tab3: { keys: ['3'], group: 'View', words: 'Variables' },
  tab4: { keys: ['4'], group: 'View', words: 'Cost' },
  tab5: { keys: ['5'], group: 'View', words: 'Events' },
  tab6: { keys: ['6'], group: 'View', words: 'Raw' },
  listPane: { keys: ['['], group: 'View', words: 'List on or off' },
  inspectorPane: { keys: [']'], group: 'View', words: 'Inspector on or off' },
  wordDifference: { keys: ['d'], group: 'View', words: 'Mark differing words' },
  scrollTogether: { keys: ['s'], group: 'View', words: 'Scroll both sides together' },
  nextRow: { keys: ['J'], group: 'Lists', words: 'Next session or run' },
  previousRow: { keys: ['K'], group: 'Lists', words: 'Previous session or run' },
  newSession: { keys: ['n'], group: 'Lists', words: 'New session' },
  sameAgain: { keys: ['N'], group: 'Lists', words: 'The same session again' },
  commands: { keys: ['mod+k'], group: 'Going', words: 'Commands, sessions, turns' },
  goSessions: { keys: ['g s'], group: 'Going', words: 'Sessions' },
  goSuites: { keys: ['g u'], group: 'Going', words: 'Suites' },
  goAgents: { keys: ['g a'], group: 'Going', words: 'Agents' },
  goBranches: { keys: ['g b'], group: 'Going', words: 'Branches' },
  goUsage: { keys: ['g $'], group: 'Going', words: 'Usage' },
  help: { keys: ['?'], group: 'Going', words: 'Keys' },
})

export type Action = keyof typeof KEYS
export type Handlers = Partial<Record<Action, () => void>>

const SEQUENCE_MS = 1_000
const layers: { current: Handlers }[] = []

const byKey = new Map<string, Action>(
  Object.entries(KEYS).flatMap(([action, each]) => each.keys.map((key) => [key, action as Action] as const)),
)
const prefixes = new Set([...byKey.keys()].filter((key) => key.includes(' ')).map((key) => key.split(' ')[0] ?? ''))

const isField = (target: EventTarget | null): boolean =>
  target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName))

let held: { key: string; at: number } | null = null

function pressed(event: KeyboardEvent): void {
  if (event.defaultPrevented || event.isComposing || event.keyCode === 229 || event.repeat || event.altKey) return
  const modified = event.metaKey || event.ctrlKey
  if (!modified && (isField(event.target) || !usePreferences.getState().singleKeys)) return
  // A menu, a list box or a dialog has keys of its own.
  if (!modified && event.target instanceof Element && event.target.closest('[role=menu],[role=listbox],[role=slider],dialog')) return
  const key = modified ? `mod+${event.key.toLowerCase()}` : event.key
  const sequence = held && event.timeStamp - held.at < SEQUENCE_MS ? byKey.get(`${held.key} ${key}`) : undefined
  held = null
  const action = sequence ?? byKey.get(key)
  const handler = action && [...layers].reverse().find((layer) => layer.current[action])?.current[action]
  if (handler) {
    event.preventDefault()
    handler()
  } else if (prefixes.has(key)) {
    held = { key, at: event.timeStamp }
  }
}

/** Handles keys while the component is mounted; the component mounted last comes first. */
export function useKeys(handlers: Handlers): void {
  const layer = useRef(handlers)
  useEffect(() => {
    layer.current = handlers
  })
  useEffect(() => {
    if (layers.length === 0) window.addEventListener('keydown', pressed)
    layers.push(layer)
    return () => {
      layers.splice(layers.indexOf(layer), 1)
      if (layers.length === 0) window.removeEventListener('keydown', pressed)
    }
  }, [])
}

const isMac = typeof navigator !== 'undefined' && /Mac|iPhone|iPad/.test(navigator.userAgent)
const SIGNS: Record<string, string> = { ArrowLeft: '←', ArrowRight: '→' }

/** The key of an action as it is printed on the keyboard. */
export const keyOf = (action: Action): string =>
  (KEYS[action].keys[0] ?? '')
    .split(' ')
    .map((key) => SIGNS[key] ?? key.replace('mod+k', isMac ? '⌘K' : 'Ctrl K').replace('mod+', isMac ? '⌘' : 'Ctrl '))
    .join(' ')
