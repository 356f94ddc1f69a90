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

export interface Letter {
  id: string
  session: string
  text: string
  onBusy: OnBusy
  state: 'sending' | 'waiting' | 'accepted' | 'conflict' | 'refused'
  attempts: number
  retryAt: number | null
  problem: Problem | null
  /** How many changes came before it, after a conflict. */
  changes: number
}

interface Outbox {
  letters: readonly Letter[]
}

export const useOutbox = create<Outbox>(() => ({ letters: [] }))

export const messageId = (): string => `page-${crypto.randomUUID?.() ?? `${Date.now()}-${Math.random().toString(36).slice(2)}`}`

const change = (id: string, patch: Partial<Letter>): void =>
  useOutbox.setState(({ letters }) => ({ letters: letters.map((letter) => (letter.id === id ? { ...letter, ...patch } : letter)) }))

const get = (id: string): Letter | undefined => useOutbox.getState().letters.find((letter) => letter.id === id)

export const discard = (id: string): void =>
  useOutbox.setState(({ letters }) => ({ letters: letters.filter((letter) => letter.id !== id) }))

export function post(store: SessionStore, text: string, onBusy: OnBusy): void {
  const letter: Letter = {
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
  useOutbox.setState(({ letters }) => ({ letters: [...letters, letter] }))
  void carry(store, letter.id, revisionOf(store.getState().timeline))
}

/** Sends a message again, without an expected revision. */
export function postAnyway(store: SessionStore, id: string): void {
  change(id, { state: 'sending', problem: null })
  void carry(store, id, undefined)
}

const PAUSE = { first: 500, most: 10_000 }

async function carry(store: SessionStore, id: string, revision: number | undefined): Promise<void> {
  for (;;) {
    const letter = get(id)
    if (!letter) return
    change(id, { state: 'sending', retryAt: null })
    try {
      // While the agent answers, its reply raises the revision: only a message to an idle session can name one.
      const idle = store.getState().timeline.session?.status !== 'pending_assistant_turn'
      const tools = await clientTools(store.getState().timeline.session ?? (await sessions.get(letter.session)))
      await sessions.say(letter.session, {
        text: letter.text,
        message_id: id,
        on_busy: letter.onBusy,
        ...(tools.length > 0 && { client_tools: tools }),
        ...(idle && revision !== undefined && letter.attempts === 0 && { expected_revision: revision }),
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
      if (!problem.repeatable) return change(id, { state: 'refused', problem })
      const wait = problem.retryAfter === null ? Math.min(PAUSE.most, PAUSE.first * 2 ** letter.attempts) : problem.retryAfter * 1000
      change(id, { state: 'waiting', attempts: letter.attempts + 1, retryAt: Date.now() + wait, problem })
      await new Promise((done) => setTimeout(done, wait))
    }
  }
}

/** Removes messages that are on the timeline, and marks those that were rejected after they were accepted. */
export function settle(messageIds: ReadonlySet<string>, refused: ReadonlyMap<string, string>): void {
  const { letters } = useOutbox.getState()
  if (letters.some((letter) => messageIds.has(letter.id))) {
    useOutbox.setState({ letters: letters.filter((letter) => !messageIds.has(letter.id)) })
  }
  for (const letter of letters) {
    const code = refused.get(letter.id)
    if (code !== undefined && letter.state === 'accepted') change(letter.id, { state: 'refused' })
  }
}
