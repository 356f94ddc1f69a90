/** The composer. Its text is in no shared store; a draft is kept for each session of this tab. */
import { ChevronDown } from 'lucide-react'
import { useEffect, useLayoutEffect, useRef, useState, type ReactNode } from 'react'
import { adviceFor } from '../api/problems.ts'
import type { OnBusy } from '../api/types.ts'
import { useKeys } from '../keys.ts'
import { usePreferences } from '../settings/preferences.ts'
import { useSession, type SessionStore } from '../timeline/store.ts'
import { Button, join, Menu } from '../ui/controls.tsx'
import { plural } from '../words.ts'
import type { Commands } from './commands.ts'
import { discard, sendAgain, sendMessage, useOutbox, type PendingMessage } from './outbox.ts'

const CHOICES: { value: Exclude<OnBusy, 'reject'>; label: string; detail: string }[] = [
  { value: 'interrupt', label: 'Interrupt', detail: 'The reply stops, its beginning stays' },
  { value: 'enqueue', label: 'Queue', detail: 'It waits until the reply is over' },
  { value: 'rollback', label: 'Replace', detail: 'The reply stops, its turn becomes a branch' },
]

const draftKey = (session: string): string => `playhead.draft.${session}`
const coarse = (): boolean => matchMedia('(pointer: coarse)').matches

interface ComposerProps {
  store: SessionStore
  commands: Commands
  /** Why no message can be sent; null if one can. */
  closed: ReactNode
  editLast: () => void
  sent: () => void
}

export function Composer({ store, commands, closed, editLast, sent }: ComposerProps) {
  const { id } = store.getState()
  const [text, setText] = useState(() => sessionStorage.getItem(draftKey(id)) ?? '')
  const [history, setHistory] = useState<number | null>(null)
  const field = useRef<HTMLTextAreaElement>(null)
  const busy = useSession(store, (state) => state.timeline.session?.status === 'pending_assistant_turn')
  const onBusy = usePreferences((state) => state.onBusy)
  const setPreferences = usePreferences((state) => state.set)
  const messages = useOutbox((state) => state.messages)
  const mine = messages.filter((message) => message.session === id)
  const choice = CHOICES.find((each) => each.value === onBusy) ?? CHOICES[0]

  useEffect(() => {
    if (text) sessionStorage.setItem(draftKey(id), text)
    else sessionStorage.removeItem(draftKey(id))
  }, [id, text])

  useLayoutEffect(() => {
    const area = field.current
    if (!area || CSS.supports('field-sizing', 'content')) return
    area.style.height = 'auto'
    area.style.height = `${Math.min(area.scrollHeight, 8 * 22 + 12)}px`
  }, [text])

  useKeys({ compose: () => field.current?.focus({ preventScroll: true }), stop: () => busy && void commands.cancel() })

  const send = (how: OnBusy = onBusy): void => {
    const message = text.trim()
    if (!message || closed !== null) return
    sendMessage(store, message, busy ? how : 'interrupt')
    setText('')
    setHistory(null)
    sent()
  }

  /** Walks through earlier messages, newest first. */
  const walk = (step: number): void => {
    const { turns, visible } = store.getState().timeline
    const sentTexts = visible.flatMap((turn) => turns.get(turn)?.user_message?.text ?? []).reverse()
    const next = (history ?? -1) + step
    if (next < 0) {
      setHistory(null)
      return setText('')
    }
    const found = sentTexts[next]
    if (found === undefined) return
    setHistory(next)
    setText(found)
  }

  return (
    <div className="shrink-0 border-t border-line bg-surface px-3 py-2 pb-[max(8px,env(safe-area-inset-bottom))] sm:px-4">
      <div className="mx-auto max-w-[calc(72ch+24px)]">
        {closed !== null ? (
          <div className="py-1 text-list text-muted">{closed}</div>
        ) : (
          <form
            onSubmit={(event) => {
              event.preventDefault()
              send()
            }}
            className="flex items-end gap-2"
          >
            <textarea
              ref={field}
              value={text}
              rows={1}
              aria-label="Say something to the agent"
              placeholder={busy ? 'The agent is answering' : 'Say something'}
              enterKeyHint={coarse() ? 'enter' : 'send'}
              onChange={(event) => setText(event.target.value)}
              onKeyDown={(event) => {
                if (event.nativeEvent.isComposing || event.keyCode === 229) return
                const mod = event.metaKey || event.ctrlKey
                if (event.key === 'Enter' && mod) {
                  event.preventDefault()
                  send('interrupt')
                } else if (event.key === 'Enter' && !event.shiftKey && !coarse()) {
                  event.preventDefault()
                  send()
                } else if (event.key === 'Escape') {
                  if (busy) {
                    event.preventDefault()
                    void commands.cancel()
                  } else event.currentTarget.blur()
                } else if (event.altKey && (event.key === 'ArrowUp' || event.key === 'ArrowDown')) {
                  event.preventDefault()
                  walk(event.key === 'ArrowUp' ? 1 : -1)
                } else if (event.key === 'ArrowUp' && text === '') {
                  event.preventDefault()
                  editLast()
                }
              }}
              className="field field-sizing-content max-h-[188px] min-w-0 flex-1 resize-none text-speech max-sm:text-[16px]"
            />
            <div className="flex">
              <Button type="submit" look="main" disabled={!text.trim()} className={join('pointer-fine:min-h-8.5 px-3', busy && 'rounded-r-none')}>
                {busy ? choice?.label : 'Send'}
              </Button>
              {busy && (
                <Menu
                  trigger={
                    <Button look="main" aria-label="What sending does now" className="pointer-fine:min-h-8.5 rounded-l-none border-l-on-accent px-0">
                      <ChevronDown size={14} />
                    </Button>
                  }
                  entries={CHOICES.map((each) => ({
                    label: each.label,
                    detail: each.detail,
                    chosen: each.value === onBusy,
                    run: () => setPreferences({ onBusy: each.value }),
                  }))}
                />
              )}
            </div>
          </form>
        )}
        {mine.length > 0 && (
          <ul aria-label="Messages on their way" className="mt-1 flex flex-col gap-1">
            {mine.map((message) => (
              <Chip key={message.id} message={message} store={store} see={sent} edit={(words) => setText((now) => now || words)} />
            ))}
          </ul>
        )}
      </div>
    </div>
  )
}

const STATES: Record<PendingMessage['state'], string> = {
  sending: 'sending',
  waiting: 'not taken yet; it is sent again by itself',
  accepted: 'waits for its turn',
  conflict: '',
  rejected: 'not taken',
}

function Chip({ message, store, see, edit }: { message: PendingMessage; store: SessionStore; see: () => void; edit: (text: string) => void }) {
  const trouble = message.state === 'rejected' || message.state === 'conflict'
  const drop = (): void => {
    discard(message.id)
    edit(message.text)
  }
  return (
    <li className="flex flex-wrap items-center gap-2 rounded-sm border border-line bg-sunken px-2 py-0.5 text-list">
      <span className="max-w-64 truncate">{message.text}</span>
      <span className={trouble ? 'text-bad' : 'text-muted'}>
        {message.state === 'conflict' ? `${plural(message.changes, 'change')} came first` : STATES[message.state]}
        {message.state === 'waiting' && message.problem && ` (${message.problem.code})`}
        {message.state === 'rejected' && message.problem && `: ${message.problem.detail || message.problem.title} ${adviceFor(message.problem)}`}
      </span>
      {message.state === 'conflict' && <Button onClick={see}>See {message.changes === 1 ? 'it' : 'them'}</Button>}
      {message.state === 'conflict' && <Button onClick={() => sendAgain(store, message.id)}>Send all the same</Button>}
      {message.state === 'rejected' && message.problem?.code !== 'session_ended' && (
        <Button onClick={() => sendAgain(store, message.id)}>Send again</Button>
      )}
      {trouble && (
        <Button look="quiet" onClick={drop}>
          Take back
        </Button>
      )}
    </li>
  )
}
