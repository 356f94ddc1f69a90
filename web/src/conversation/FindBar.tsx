/** Find in the whole visible conversation, not only in the rendered rows. */
import { ChevronDown, ChevronUp, X } from 'lucide-react'
import { useEffect, useMemo, useRef, useState } from 'react'
import { sessions } from '../api/routes.ts'
import { useSession, type SessionStore } from '../timeline/store.ts'
import { IconButton } from '../ui/controls.tsx'
import { asProblem } from '../api/problems.ts'

interface Hit {
  turn: string
}

const occurrences = (text: string, word: string): number => (word ? text.toLowerCase().split(word).length - 1 : 0)

/** The words of turns that are not loaded, from the transcript, a line at a time. */
async function olderWords(id: string, signal: AbortSignal, found: (turn: string, text: string) => void): Promise<void> {
  const response = await sessions.transcript(id, 'jsonl', { signal })
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
  let rest = ''
  for (;;) {
    const next = await reader?.read()
    if (!next || next.done) return
    const lines = (rest + next.value).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      const entry = JSON.parse(line) as { turn_id: string; text: string }
      found(entry.turn_id, entry.text)
    }
  }
}

interface FindProps {
  store: SessionStore
  path: readonly string[]
  initial: string
  whole: boolean
  show: (turn: string) => void
  close: () => void
  changed: (word: string) => void
}

export function FindBar({ store, path, initial, whole, show, close, changed }: FindProps) {
  const [word, setWord] = useState(initial)
  const [at, setAt] = useState(-1)
  const [older, setOlder] = useState<ReadonlyMap<string, string>>(new Map())
  const [problem, setProblem] = useState<string | null>(null)
  const field = useRef<HTMLInputElement>(null)
  const turns = useSession(store, (state) => state.timeline.turns)

  useEffect(() => {
    field.current?.focus({ preventScroll: true })
    field.current?.select()
  }, [])

  useEffect(() => {
    if (whole) return
    const stop = new AbortController()
    const words = new Map<string, string>()
    olderWords(store.getState().id, stop.signal, (turn, text) => words.set(turn, `${words.get(turn) ?? ''}\n${text}`))
      .then(() => setOlder(words))
      .catch((error: unknown) => !stop.signal.aborted && setProblem(asProblem(error).title))
    return () => stop.abort()
  }, [store, whole])

  const hits = useMemo(() => {
    const wanted = word.trim().toLowerCase()
    if (!wanted) return []
    const loaded = new Set(path)
    const texts: [string, string][] = [...older].filter(([turn]) => !loaded.has(turn))
    for (const id of path) {
      const turn = turns.get(id)
      if (!turn) continue
      const tools = turn.events.filter((event) => event.type.startsWith('tool_call')).map((event) => JSON.stringify(event.payload))
      texts.push([id, [turn.user_message?.text, ...tools, turn.assistant_message?.text].join('\n')])
    }
    return texts.flatMap(([turn, text]): Hit[] => Array.from({ length: occurrences(text, wanted) }, () => ({ turn })))
  }, [word, path, turns, older])

  useEffect(() => {
    highlight(word.trim())
    const list = document.querySelector('[data-conversation]')
    if (!list) return
    const watching = new MutationObserver(() => highlight(word.trim()))
    watching.observe(list, { childList: true, subtree: true, characterData: true })
    return () => {
      watching.disconnect()
      highlight('')
    }
  }, [word])

  const step = (by: number): void => {
    if (hits.length === 0) return
    const next = at === -1 ? (by > 0 ? 0 : hits.length - 1) : (at + by + hits.length) % hits.length
    setAt(next)
    const hit = hits[next]
    if (hit) show(hit.turn)
  }

  return (
    <div role="search" className="flex items-center gap-1 border-b border-line bg-surface px-3 py-1">
      <input
        ref={field}
        type="search"
        value={word}
        aria-label="Find in the conversation"
        placeholder="Find words, tools, results"
        onChange={(event) => {
          setWord(event.target.value)
          setAt(-1)
          changed(event.target.value)
        }}
        onKeyDown={(event) => {
          if (event.nativeEvent.isComposing) return
          if (event.key === 'Enter') {
            event.preventDefault()
            step(event.shiftKey ? -1 : 1)
          } else if (event.key === 'Escape') {
            event.preventDefault()
            close()
          }
        }}
        className="field min-w-0 flex-1"
      />
      <span role="status" className="px-1 text-list text-muted">
        {problem ?? (word.trim() ? `${at + 1} / ${hits.length}` : '')}
      </span>
      <IconButton label="Match before" onClick={() => step(-1)} disabled={hits.length === 0}>
        <ChevronUp size={16} />
      </IconButton>
      <IconButton label="Next match" onClick={() => step(1)} disabled={hits.length === 0}>
        <ChevronDown size={16} />
      </IconButton>
      <IconButton label="Close" onClick={close}>
        <X size={16} />
      </IconButton>
    </div>
  )
}

/** Marks the word in what is shown, without touching the DOM. */
function highlight(word: string): void {
  if (!('highlights' in CSS)) return
  CSS.highlights.delete('found')
  const list = document.querySelector('[data-conversation]')
  if (!word || !list) return
  const wanted = word.toLowerCase()
  const marks = new Highlight()
  const walker = document.createTreeWalker(list, NodeFilter.SHOW_TEXT)
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const text = node.textContent?.toLowerCase() ?? ''
    for (let from = text.indexOf(wanted); from !== -1; from = text.indexOf(wanted, from + wanted.length)) {
      const range = new Range()
      range.setStart(node, from)
      range.setEnd(node, from + wanted.length)
      marks.add(range)
    }
  }
  CSS.highlights.set('found', marks)
}
