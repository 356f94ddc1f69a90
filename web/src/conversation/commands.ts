/** The commands of a session. Each reports its outcome; what is shown changes only by what the server returns. */
import { useMemo } from 'react'
import { useRouter } from '@tanstack/react-router'
import { create } from 'zustand'
import { asProblem } from '../api/problems.ts'
import { sessions } from '../api/routes.ts'
import type { Json, Session } from '../api/types.ts'
import { clientTools } from '../sessions/queries.ts'
import { revisionOf } from '../timeline/reduce.ts'
import type { SessionStore } from '../timeline/store.ts'
import { showProblem, showToast } from '../ui/toast.tsx'
import { copy } from '../ui/states.tsx'
import { messageId } from './outbox.ts'

interface Conflict {
  session: string
  changes: number
  words: string
  again: () => void
}

/** A command that was rejected because another change came first. */
export const useConflict = create<{ conflict: Conflict | null }>(() => ({ conflict: null }))

/** Sessions whose reply is being cancelled. */
export const useStopping = create<{ sessions: ReadonlySet<string> }>(() => ({ sessions: new Set() }))

/** Commands of this page whose outcome has not been seen yet: every other change is somebody else's doing. */
interface Own {
  session: string
  words: string
  until: number
}
let own: Own[] = []
const SEEN_MS = 10_000

/** True if this page requested the change. */
export const isOwn = (session: string, words?: string): boolean =>
  own.some((each) => each.session === session && (words === undefined || each.words === words) && Date.now() < each.until)

/** A change of this page was seen: the next of its kind is somebody else's. */
export const seenOwn = (session: string, words: string): void => {
  const found = own.find((each) => each.session === session && each.words === words)
  own = own.filter((each) => each !== found)
}

const marked = (id: string, stopping: boolean): void =>
  useStopping.setState(({ sessions: before }) => {
    const next = new Set(before)
    if (stopping) next.add(id)
    else next.delete(id)
    return { sessions: next }
  })

export interface Commands {
  rewind(turnId: string | null, before?: boolean): Promise<boolean>
  /** `seen` is the revision at which the user began to write: if the session has changed since, it is a conflict. */
  edit(turnId: string, text: string, seen: number | undefined): Promise<boolean>
  tryAgain(turnId: string): Promise<boolean>
  restore(branchId: string): Promise<boolean>
  cancel(): Promise<void>
  end(): Promise<void>
  fork(turnId: string | undefined, more?: { agent?: string; version?: number; model?: string; name?: string }): Promise<Session | null>
  decide(callId: string, decision: 'approve' | 'deny', reason?: string): Promise<boolean>
  /** Returns the result of a client tool: a text or JSON, or why it failed. */
  returnResult(callId: string, result: Json, failed: boolean): Promise<boolean>
  simulate(enabled: boolean): Promise<void>
  erase(): Promise<boolean>
  copyLink(turnId: string | undefined): void
}

export function commandsOf(store: SessionStore): Omit<Commands, 'copyLink'> {
  const { id } = store.getState()
  const revision = (): number | undefined => revisionOf(store.getState().timeline)

  /** Carries a command out; after a conflict it can be repeated without a revision. */
  async function run(words: string, work: (revision: number | undefined) => Promise<unknown>, seen = revision()): Promise<boolean> {
    const command: Own = { session: id, words, until: Number.POSITIVE_INFINITY }
    own = [...own.filter((each) => Date.now() < each.until), command]
    try {
      await work(seen)
      useConflict.setState({ conflict: null })
      if (store.getState().link.kind !== 'live') await store.actions.refresh()
      return true
    } catch (error) {
      own = own.filter((each) => each !== command)
      const problem = asProblem(error)
      if (problem.code !== 'revision_conflict') {
        showProblem(problem)
        return false
      }
      const { actual_revision: actual, expected_revision: expected } = problem.figures
      await store.actions.refresh()
      useConflict.setState({
        conflict: {
          session: id,
          changes: Math.max(1, Number(actual ?? 0) - Number(expected ?? 0)),
          words,
          again: () => {
            useConflict.setState({ conflict: null })
            void run(words, () => work(undefined), undefined)
          },
        },
      })
      return false
    } finally {
      command.until = Date.now() + SEEN_MS
    }
  }

  return {
    rewind: (turnId, before = false) =>
      run('Rewind', (expected_revision) =>
        sessions.rewind(id, { turn_id: turnId, ...(before && { before }), ...(expected_revision !== undefined && { expected_revision }) }),
      ),
    edit: (turnId, text, seen) => {
      const message_id = messageId()
      return run(
        'Edit',
        async (expected_revision) => {
          const tools = await clientTools(store.getState().timeline.session)
          const more = { ...(tools.length > 0 && { client_tools: tools }), ...(expected_revision !== undefined && { expected_revision }) }
          return sessions.edit(id, turnId, { text, message_id, ...more })
        },
        seen,
      )
    },
    tryAgain: (turnId) => {
      const message_id = messageId()
      return run('Try again', (expected_revision) =>
        sessions.regenerate(id, turnId, { message_id, ...(expected_revision !== undefined && { expected_revision }) }),
      )
    },
    restore: (branchId) =>
      run('Make active', (expected_revision) => sessions.restore(id, branchId, expected_revision === undefined ? {} : { expected_revision })),
    async cancel() {
      marked(id, true)
      await run('Stop', () => sessions.cancel(id))
      marked(id, false)
    },
    async end() {
      await run('End', () => sessions.end(id))
    },
    async fork(turnId, more = {}) {
      try {
        return await sessions.fork(id, {
          ...(turnId !== undefined && { turn_id: turnId }),
          ...(more.agent && { agent: more.version === undefined ? more.agent : { id: more.agent, version: more.version } }),
          ...(more.model && { model: more.model }),
          ...(more.name && { name: more.name }),
        })
      } catch (error) {
        showProblem(error)
        return null
      }
    },
    decide: (callId, decision, reason) => run('Decide', () => sessions.decide(id, callId, decision, reason)),
    returnResult: (callId, result, failed) => run('Return', () => sessions.returnResult(id, callId, { result, is_error: failed })),
    async simulate(enabled) {
      await run('Simulated user', () => sessions.simulate(id, { enabled }))
    },
    async erase() {
      try {
        await sessions.erase(id)
        showToast('Erased. Its ledger rows stay, without words.')
        return true
      } catch (error) {
        showProblem(error)
        return false
      }
    },
  }
}

export function useCommands(store: SessionStore): Commands {
  const router = useRouter()
  return useMemo(
    () => ({
      ...commandsOf(store),
      copyLink(turnId) {
        const location = router.buildLocation({
          to: '/sessions/$id',
          params: { id: store.getState().id },
          search: (before) => ({ ...before, turn: turnId }),
        })
        void copy(window.location.origin + location.href, 'Link copied')
      },
    }),
    [store, router],
  )
}
