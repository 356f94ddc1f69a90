/** One agent: graph and list, one node, versions and what they changed. */
import { getRouteApi, Link } from '@tanstack/react-router'
import { lazy, Suspense, useMemo } from 'react'
import { useAgent, useVersions } from '../sessions/queries.ts'
import { Button, join } from '../ui/controls.tsx'
import { Empty, Loading, Missing, useTitle } from '../ui/states.tsx'
import { plural, when } from '../words.ts'
import { difference } from './difference.ts'
import VersionDifference from './Difference.tsx'
import { NodeDetails } from './NodeDetails.tsx'

const GraphView = lazy(() => import('./GraphView.tsx'))
const route = getRouteApi('/agents/$name')

export function AgentPage() {
  const { name } = route.useParams()
  const search = route.useSearch()
  const navigate = route.useNavigate()
  const newest = useAgent(name)
  const agent = useAgent(name, search.version)
  const versions = useVersions(name, newest.data?.version)
  const against = useAgent(search.against === undefined ? '' : name, search.against)
  useTitle(name)
  const set = (change: Partial<typeof search>): void => void navigate({ search: (before) => ({ ...before, ...change }), replace: false })
  const marks = useMemo(
    () =>
      against.data && agent.data
        ? new Map(difference(against.data.definition, agent.data.definition).filter((change) => change.node).map((change) => [change.node, change.kind]))
        : undefined,
    [against.data, agent.data],
  )
  if (agent.isPending) return <Loading rows={6} />
  if (agent.isError)
    return (
      <main id="main" className="flex-1">
        <h1 className="sr-only">{name}</h1>
        <Missing error={agent.error} what={search.version === undefined || newest.isError ? 'agent' : 'version'} retry={() => void agent.refetch()}>
          <Link to="/agents" className="text-accent underline">
            To the agents
          </Link>
        </Missing>
      </main>
    )
  const { definition, version, warnings } = agent.data
  return (
    <main id="main" className="flex min-h-0 flex-1 flex-col">
      <header className="flex min-h-11 flex-wrap items-center gap-2 border-b border-line px-4 py-1 max-sm:py-2">
        <h1 className="min-w-0 text-title font-semibold break-words max-sm:basis-full">{name}</h1>
        <label className="max-w-full text-list text-muted">
          version{' '}
          <select value={version} onChange={(event) => set({ version: Number(event.target.value) })} className="field max-w-full text-text">
            {(versions.data ?? [{ version, at: null }]).map((each) => (
              <option key={each.version} value={each.version}>
                {each.version}
                {each.at && ` · ${when(each.at)}`}
              </option>
            ))}
          </select>
        </label>
        {(versions.data?.length ?? 0) > 1 && (
          <label className="max-w-full text-list text-muted">
            against{' '}
            <select value={search.against ?? ''} onChange={(event) => set({ against: event.target.value ? Number(event.target.value) : undefined })} className="field max-w-full text-text">
              <option value="">none</option>
              {versions.data
                ?.filter((each) => each.version !== version)
                .map((each) => (
                  <option key={each.version}>{each.version}</option>
                ))}
            </select>
          </label>
        )}
        <span className="flex-1 max-sm:basis-full" />
        <Link to="/sessions" search={{ agent: name, version }} className="target inline-flex items-center rounded-sm px-2 text-list text-accent hover:underline">
          Sessions of v{version}
        </Link>
        <Link to="/suites" search={{ agent: name, version }} className="target inline-flex items-center rounded-sm px-2 text-list text-accent hover:underline">
          Suites of v{version}
        </Link>
        <Link to="/sessions/new" search={{ agent: name, version }} className="target inline-flex items-center rounded-sm bg-accent px-3 text-list font-medium text-on-accent">
          Talk to it
        </Link>
      </header>
      {warnings.length > 0 && (
        <details className="border-b border-line bg-warn-tint px-4 py-1 text-list">
          <summary className="target text-warn">{plural(warnings.length, 'warning')}</summary>
          <ul className="list-disc pb-2 pl-5">
            {warnings.map((warning) => (
              <li key={warning}>{warning}</li>
            ))}
          </ul>
        </details>
      )}
      <div className="flex min-h-0 flex-1 max-md:flex-col max-md:overflow-auto">
        <div className="min-h-80 min-w-0 flex-1 bg-canvas md:border-r md:border-line">
          <Suspense fallback={<Loading rows={1} height={300} />}>
            <GraphView definition={definition} opened={search.node} open={(node) => set({ node })} {...(marks && { marks })} />
          </Suspense>
        </div>
        <div className="min-h-0 p-4 md:w-[440px] md:overflow-auto">
          {search.against !== undefined ? (
            <>
              <h2 className="mb-2 font-medium">
                Since version {search.against}
                {search.node && `: ${search.node}`}
              </h2>
              {search.node && (
                <Button look="quiet" onClick={() => set({ node: undefined })}>
                  ‹ All changes
                </Button>
              )}
              <VersionDifference name={name} from={search.against} to={version} only={search.node} />
            </>
          ) : search.node ? (
            <>
              <Button look="quiet" onClick={() => set({ node: undefined })}>
                ‹ All nodes
              </Button>
              <NodeDetails definition={definition} name={search.node} open={(node) => set({ node })} />
            </>
          ) : Object.keys(definition.nodes).length === 0 ? (
            <Empty title="This agent has no nodes" />
          ) : (
            <ul>
              {Object.entries(definition.nodes).map(([each, node]) => (
                <li key={each} className="flex items-baseline gap-x-1 border-b border-line py-1 text-list">
                  <Button look="quiet" onClick={() => set({ node: each })} className={join('shrink-0 font-medium', each === definition.start && 'text-accent')}>
                    {each}
                  </Button>
                  <span className="min-w-0 text-muted">{[...new Set(node.transitions?.map((transition) => transition.to))].join(', ') || (node.end ? 'end' : '')}</span>
                </li>
              ))}
            </ul>
          )}
        </div>
      </div>
    </main>
  )
}
