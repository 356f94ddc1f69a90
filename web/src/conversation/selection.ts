/** The selection: session, branch, turn, step. It is kept in the URL and nowhere else. */
import { getRouteApi } from '@tanstack/react-router'
import { useCallback, useMemo } from 'react'

const route = getRouteApi('/sessions/$id')

export type TabId = 'why' | 'graph' | 'variables' | 'cost' | 'events' | 'raw'

export interface SessionSearch {
  turn?: string
  /** A discarded branch, or `hidden` for the turns that a rewind hides; absent for the active branch. */
  branch?: string
  tab?: TabId
  step?: number
  find?: string
  /** Turns that a judge quoted, separated by commas; marked in the text and on the strip. */
  quoted?: string
}

export interface Selection extends SessionSearch {
  session: string
  go: (change: Partial<SessionSearch>, how?: { replace?: boolean }) => void
}

export function useSelection(): Selection {
  const { id } = route.useParams()
  const search = route.useSearch()
  const navigate = route.useNavigate()
  const go = useCallback(
    (change: Partial<SessionSearch>, how: { replace?: boolean } = {}) =>
      void navigate({ search: (before) => ({ ...before, ...change }), replace: how.replace ?? false, resetScroll: false }),
    [navigate],
  )
  return useMemo(() => ({ ...search, session: id, go }), [search, id, go])
}
