/** All suites, newest first. */
import { useInfiniteQuery } from '@tanstack/react-query'
import { getRouteApi, Link } from '@tanstack/react-router'
import { Plus } from 'lucide-react'
import { suites } from '../api/routes.ts'
import { Button } from '../ui/controls.tsx'
import { Empty, Loading, ProblemNote, StatusShape, useNow, useTitle } from '../ui/states.tsx'
import { age, plural, STATUS } from '../words.ts'

const route = getRouteApi('/suites')

export function SuiteList() {
  useTitle('Suites')
  const { agent } = route.useSearch()
  const now = useNow()
  const found = useInfiniteQuery({
    queryKey: ['suites'],
    queryFn: ({ pageParam, signal }) => suites.list({ limit: 50, cursor: pageParam }, { signal }),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next_cursor,
    refetchInterval: 5_000,
  })
  const listed = found.data?.pages.flatMap((page) => page.items) ?? []
  const items = agent ? listed.filter((suite) => suite.agent_name === agent) : listed
  return (
    <main id="main" className="min-h-0 flex-1 overflow-auto">
      <div className="mx-auto max-w-4xl p-4 sm:p-6">
        <header className="mb-3 flex items-center gap-2">
          <h1 className="flex-1 text-title font-semibold">Suites</h1>
          <Link to="/suites/new" className="target inline-flex items-center gap-1 rounded-sm bg-accent px-3 text-list font-medium text-on-accent">
            <Plus size={14} /> New suite
          </Link>
        </header>
        {agent && (
          <p className="mb-2 flex items-center gap-2 text-list text-muted">
            Of {agent} only
            <Link to="/suites" className="target inline-flex items-center text-accent underline">
              Show all
            </Link>
          </p>
        )}
        {found.isPending ? (
          <Loading rows={6} height={44} />
        ) : found.isError ? (
          <ProblemNote error={found.error} retry={() => void found.refetch()} />
        ) : items.length === 0 && agent ? (
          <Empty title={`No suite of ${agent}${found.hasNextPage ? ' among the newest' : ' yet'}`} />
        ) : items.length === 0 ? (
          <Empty title="No suite yet">
            <p>A suite lets simulated callers talk to an agent, many at once, and a judge says what came of it.</p>
            <code className="mt-3 block rounded-sm bg-sunken p-2 font-mono text-code">playhead simulate examples/suites/booking-line.yaml</code>
          </Empty>
        ) : (
          <ul className="divide-y divide-line rounded-lg border border-line bg-surface">
            {items.map((suite) => (
              <li key={suite.id}>
                <Link to="/suites/$id" params={{ id: suite.id }} search={{}} className="flex min-h-13 items-center gap-3 px-3 py-2 text-list hover:bg-hover">
                  <StatusShape status={suite.outcome ?? suite.status} />
                  <span className="min-w-0 flex-1">
                    <span className="block truncate font-medium">{suite.name}</span>
                    <span className="block truncate text-meta text-muted">
                      {suite.agent_name} v{suite.agent_version} · {plural(suite.planned, 'run')} · {STATUS[suite.outcome ?? suite.status]}
                      {suite.outcome && suite.status !== 'completed' && ` · ${STATUS[suite.status]}`}
                    </span>
                  </span>
                  <span className="text-meta text-faint">{age(suite.created_at, now)}</span>
                </Link>
              </li>
            ))}
          </ul>
        )}
        {found.hasNextPage && (
          <Button className="mt-3" onClick={() => void found.fetchNextPage()}>
            Earlier suites
          </Button>
        )}
      </div>
    </main>
  )
}
