/** All suites, newest first. */
import { useInfiniteQuery } from '@tanstack/react-query'
import { getRouteApi, Link } from '@tanstack/react-router'
import { Plus } from 'lucide-react'
import { suites } from '../api/routes.ts'
import { useAgents } from '../sessions/queries.ts'
import { Choice, VersionChoice } from '../sessions/SessionsPage.tsx'
import { Button } from '../ui/controls.tsx'
import { Empty, Loading, ProblemNote, StatusShape, useNow, useTitle } from '../ui/states.tsx'
import { age, fullTime, plural, STATUS } from '../words.ts'

const route = getRouteApi('/suites')

export function SuiteList() {
  useTitle('Suites')
  const { agent, version } = route.useSearch()
  const navigate = route.useNavigate()
  const agents = useAgents()
  const now = useNow()
  const found = useInfiniteQuery({
    queryKey: ['suites', agent, version],
    queryFn: ({ pageParam, signal }) =>
      suites.list({ limit: 50, cursor: pageParam, ...(agent && { agent }), ...(agent && version !== undefined && { agent_version: version }) }, { signal }),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next_cursor,
    refetchInterval: 5_000,
  })
  const listed = found.data?.pages.flatMap((page) => page.items) ?? []
  // An older API ignores the filters.
  const items = listed.filter((suite) => (!agent || suite.agent_name === agent || suite.agent_id === agent) && (!agent || version === undefined || suite.agent_version === version))
  return (
    <main id="main" className="min-h-0 flex-1 overflow-auto">
      <div className="mx-auto max-w-4xl p-4 sm:p-6">
        <header className="mb-3 flex flex-wrap items-center gap-2">
          <h1 className="flex-1 text-title font-semibold">Suites</h1>
          <Choice label="Agent" value={agent ?? ''} options={[['', 'Every agent'], ...(agents.data?.items ?? []).map((each): [string, string] => [each.name, each.name])]} change={(name) => void navigate({ search: name ? { agent: name } : {}, replace: true })} />
          {agent && (
            <VersionChoice
              agent={agent}
              newest={agents.data?.items.find((each) => each.name === agent || each.id === agent)?.version}
              value={version}
              change={(number) => void navigate({ search: { agent, ...(number !== undefined && { version: number }) }, replace: true })}
            />
          )}
          <Link to="/suites/new" className="target inline-flex items-center gap-1 rounded-sm bg-accent px-3 text-list font-medium text-on-accent">
            <Plus size={14} /> New suite
          </Link>
        </header>
        {found.isPending ? (
          <Loading rows={6} height={44} />
        ) : found.isError ? (
          <ProblemNote error={found.error} retry={() => void found.refetch()} />
        ) : items.length === 0 && agent ? (
          <Empty title={`No suite of ${agent}${version === undefined ? '' : ` v${version}`} yet`}>
            <Link to="/suites" search={{}} className="target inline-flex items-center text-accent underline">
              Show all
            </Link>
          </Empty>
        ) : items.length === 0 ? (
          <Empty title="No suite yet">
            <p>A suite lets simulated users talk to an agent, many at once, and a judge says what came of it.</p>
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
                  <span title={fullTime(suite.created_at)} className="text-meta whitespace-nowrap text-faint">{age(suite.created_at, now)}</span>
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
