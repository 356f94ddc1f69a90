/**
 * Messages that are being sent. Each has an id of its own, so that sending it again is safe: lost connections, 429, 503
 * and 504 are retried automatically. A message leaves the outbox when its turn is on the timeline.
 */
import { create } from 'zustand'
import { asProblem, type Problem } from '../api/problems.ts'
import { sessions } from '../api/routes.ts'
import type { OnBusy } from '../api/types.ts'
import { clientTools } from '../sessions/queries.ts'
import { revisionOf } from '../timeline/reduce.ts'
import type { SessionStore } from '../timeline/store.ts'

export interface PendingMessage {
  id: string
  session: string
  text: string
  onBusy: OnBusy
  state: 'sending' | 'waiting' | 'accepted' | 'conflict' | 'rejected'
  attempts: number
  retryAt: number | null
  problem: Problem | null
  /** How many changes came before it, after a conflict. */
  changes: number
}

interface Outbox {
  messages: readonly PendingMessage[]
}

export const useOutbox = create<Outbox>(() => ({ messages: [] }))

export const messageId = (): string => `page-${crypto.randomUUID?.() ?? `${Date.now()}-${Math.random().toString(36).slice(2)}`}`

const change = (id: string, patch: Partial<PendingMessage>): void =>
  useOutbox.setState(({ messages }) => ({ messages: messages.map((message) => (message.id === id ? { ...message, ...patch } : message)) }))

const get = (id: string): PendingMessage | undefined => useOutbox.getState().messages.find((message) => message.id === id)

export const discard = (id: string): void =>
  useOutbox.setState(({ messages }) => ({ messages: messages.filter((message) => message.id !== id) }))

export function sendMessage(store: SessionStore, text: string, onBusy: OnBusy): void {
  const message: PendingMessage = {
    id: messageId(),
    session: store.getState().id,
    text,
    onBusy,
    state: 'sending',
    attempts: 0,
    retryAt: null,
    problem: null,
    changes: 0,
  }
  useOutbox.setState(({ messages }) => ({ messages: [...messages, message] }))
  void deliver(store, message.id, revisionOf(store.getState().timeline))
}

/** Sends a message again, without an expected revision. */
export function sendAgain(store: SessionStore, id: string): void {
  change(id, { state: 'sending', problem: null })
  void deliver(store, id, undefined)
}

const PAUSE = { first: 500, most: 10_000 }

async function deliver(store: SessionStore, id: string, revision: number | undefined): Promise<void> {
  for (;;) {
    const message = get(id)
    if (!message) return
    change(id, { state: 'sending', retryAt: null })
    try {
      // While the agent answers, its reply raises the revision: only a message to an idle session can name one.
      const idle = store.getState().timeline.session?.status !== 'pending_assistant_turn'
      const tools = await clientTools(store.getState().timeline.session ?? (await sessions.get(message.session)))
      await sessions.sendMessage(message.session, {
        text: message.text,
        message_id: id,
        on_busy: message.onBusy,
        ...(tools.length > 0 && { client_tools: tools }),
        ...(idle && revision !== undefined && message.attempts === 0 && { expected_revision: revision }),
      })
      change(id, { state: 'accepted', problem: null })
      return
    } catch (error) {
      const problem = asProblem(error)
      if (problem.code === 'revision_conflict') {
        const { actual_revision: actual, expected_revision: expected } = problem.figures
        const changes = Math.max(1, Number(actual ?? 0) - Number(expected ?? 0))
        return change(id, { state: 'conflict', problem, changes })
      }
      if (!problem.repeatable) return change(id, { state: 'rejected', problem })
      const wait = problem.retryAfter === null ? Math.min(PAUSE.most, PAUSE.first * 2 ** message.attempts) : problem.retryAfter * 1000
      change(id, { state: 'waiting', attempts: message.attempts + 1, retryAt: Date.now() + wait, problem })
      await new Promise((done) => setTimeout(done, wait))
    }
  }
}

/** Removes messages that are on the timeline, and marks those that were rejected after they were accepted. */
export function reconcile(messageIds: ReadonlySet<string>, rejected: ReadonlyMap<string, string>): void {
  const { messages } = useOutbox.getState()
  if (messages.some((message) => messageIds.has(message.id))) {
    useOutbox.setState({ messages: messages.filter((message) => !messageIds.has(message.id)) })
  }
  for (const message of messages) {
    const code = rejected.get(message.id)
    if (code !== undefined && message.state === 'accepted') change(message.id, { state: 'rejected' })
  }
}
