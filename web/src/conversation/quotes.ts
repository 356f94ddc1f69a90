/** The words that a judge quotes from this conversation, where it is a run of a suite. */
import { useQuery } from '@tanstack/react-query'
import { useMemo } from 'react'
import { all, suites } from '../api/routes.ts'
import type { SessionSummary } from '../api/types.ts'
import { quotedWords } from '../timeline/quotes.ts'

const NOTHING: ReadonlyMap<string, readonly string[]> = new Map()

/** `wanted` is true where a link names quoted turns. */
export function useQuotes(session: Pick<SessionSummary, 'id' | 'suite_id' | 'annotations'> | null, wanted: boolean): ReadonlyMap<string, readonly string[]> {
  const suite = session?.suite_id
  const scenario = session?.annotations['scenario']
  const run = useQuery({
    queryKey: ['run', session?.id],
    queryFn: async ({ signal }) => {
      const runs = await all((cursor) => suites.runs(suite ?? '', { limit: 200, cursor, ...(typeof scenario === 'string' && { scenario }) }, { signal }))
      return runs.find((each) => each.session_id === session?.id) ?? null
    },
    enabled: wanted && Boolean(suite),
    staleTime: 60_000,
  })
  return useMemo(() => (run.data ? quotedWords(run.data) : NOTHING), [run.data])
}
