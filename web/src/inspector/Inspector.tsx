/** Everything about the selected turn. */
import { X } from 'lucide-react'
import { lazy, Suspense, useMemo } from 'react'
import type { Turn } from '../api/types.ts'
import type { Selection, TabId } from '../conversation/selection.ts'
import { useView } from '../conversation/view.ts'
import { useSession, type SessionStore } from '../timeline/store.ts'
import { IconButton, Tabs } from '../ui/controls.tsx'
import { Loading } from '../ui/states.tsx'
import { Cost } from './Cost.tsx'
import { Events } from './Events.tsx'
import { Raw } from './Raw.tsx'
import { Variables } from './Variables.tsx'
import { Why } from './Why.tsx'

const GraphTab = lazy(() => import('./GraphTab.tsx'))

export const TABS: readonly { id: TabId; label: string; action: 'tab1' | 'tab2' | 'tab3' | 'tab4' | 'tab5' | 'tab6' }[] = [
  { id: 'why', label: 'Why', action: 'tab1' },
  { id: 'graph', label: 'Graph', action: 'tab2' },
  { id: 'variables', label: 'Variables', action: 'tab3' },
  { id: 'cost', label: 'Cost', action: 'tab4' },
  { id: 'events', label: 'Events', action: 'tab5' },
  { id: 'raw', label: 'Raw', action: 'tab6' },
]

export interface TabProps {
  store: SessionStore
  selection: Selection
  turn: Turn | undefined
  /** The branch up to the selected turn, oldest first. */
  upTo: readonly Turn[]
}

export function Inspector({ store, selection, close }: { store: SessionStore; selection: Selection; close: () => void }) {
  const view = useView(store, selection.branch)
  const turns = useSession(store, (state) => state.timeline.turns)
  const tab = selection.tab ?? 'why'
  const chosen = selection.turn && view.path.includes(selection.turn) ? selection.turn : view.path.at(-1)
  const turn = turns.get(chosen ?? '')
  const upTo = useMemo(
    () => (chosen === undefined ? [] : view.path.slice(0, view.path.indexOf(chosen) + 1).flatMap((each) => turns.get(each) ?? [])),
    [view.path, turns, chosen],
  )
  const props: TabProps = { store, selection, turn, upTo }
  return (
    <div className="flex min-h-0 flex-1 flex-col">
      <div className="flex h-11 shrink-0 items-center gap-2 px-3">
        <h2 className="flex-1 text-list text-muted">
          {turn ? (
            <>
              Turn <span className="font-semibold text-text">#{turn.index}</span>
            </>
          ) : (
            'No turn yet'
          )}
        </h2>
        <IconButton label="Close the inspector" onClick={close} className="max-sm:hidden md:hidden">
          <X size={16} />
        </IconButton>
      </div>
      <Tabs label="About this turn" tabs={TABS} value={tab} onChange={(id) => selection.go({ tab: id as TabId }, { replace: true })}>
        {tab === 'why' && <Why {...props} />}
        {tab === 'graph' && (
          <Suspense fallback={<Loading rows={1} height={300} />}>
            <GraphTab {...props} />
          </Suspense>
        )}
        {tab === 'variables' && <Variables {...props} />}
        {tab === 'cost' && <Cost {...props} />}
        {tab === 'events' && <Events {...props} />}
        {tab === 'raw' && <Raw {...props} />}
      </Tabs>
    </div>
  )
}
