/** A read-only conversation beside the wall. Its rows are the same as in the conversation. */
import { useMemo, useState } from 'react'
import type { JsonObject } from '../api/types.ts'
import { variablesAt } from '../timeline/variables.ts'
import { useSession, type SessionStore } from '../timeline/store.ts'
import { Button } from '../ui/controls.tsx'
import { Loading, ProblemNote } from '../ui/states.tsx'
import { useCommands } from './commands.ts'
import { RowContext, TurnRow } from './TurnRow.tsx'

/** Rows that are rendered at first; more on demand. */
const AT_FIRST = 120

export function useReadingContext(store: SessionStore, path: readonly string[], select: (turn: string) => void): RowContext {
  const commands = useCommands(store)
  return useMemo<RowContext>(
    () => ({
      store,
      commands,
      mayAct: false,
      ended: true,
      editing: null,
      edit: () => undefined,
      select,
      fork: (turn) => void commands.fork(turn),
      sibling: () => undefined,
      familyOf: () => ({ at: 0, size: 1 }),
      laterThan: () => ({ turns: 0, cost: '' }),
      variablesBefore: (turn) => {
        const { timeline } = store.getState()
        const known = path.slice(0, path.indexOf(turn)).flatMap((each) => timeline.turns.get(each) ?? [])
        return Object.fromEntries(variablesAt(timeline.session?.initial_context ?? {}, known).map(({ name, value }) => [name, value])) as JsonObject
      },
      unfolded: () => 0,
    }),
    [store, commands, path, select],
  )
}

export function Transcript({
  store,
  selected,
  quoted,
  quotes,
  select,
}: {
  store: SessionStore
  selected: string | undefined
  quoted: ReadonlySet<string>
  /** The words that a judge quotes, by turn. */
  quotes: ReadonlyMap<string, readonly string[]>
  select: (turn: string) => void
}) {
  const path = useSession(store, (state) => state.timeline.visible)
  const problem = useSession(store, (state) => state.problem)
  const loaded = useSession(store, (state) => state.timeline.session !== null)
  const [most, setMost] = useState(AT_FIRST)
  const context = useReadingContext(store, path, select)
  if (!loaded) return problem ? <ProblemNote error={problem} /> : <Loading rows={4} height={72} />
  return (
    <RowContext.Provider value={context}>
      <ol aria-label="Conversation">
        {path.slice(0, most).map((turn, at) => (
          <li key={turn} className="[contain-intrinsic-size:auto_120px] [content-visibility:auto]">
            <TurnRow turnId={turn} before={path[at - 1] ?? null} position={at + 1} total={path.length} selected={turn === selected} quoted={quoted.has(turn)} quotes={quotes.get(turn)} flash={false} />
          </li>
        ))}
      </ol>
      {path.length > most && (
        <Button className="m-3" onClick={() => setMost(most + AT_FIRST)}>
          {path.length - most} more turns
        </Button>
      )}
    </RowContext.Provider>
  )
}
