/** The queries of lists and details, shared by the views that show the same data. */
import { QueryClient, queryOptions, useInfiniteQuery, useQuery } from '@tanstack/react-query'
import { asProblem } from '../api/problems.ts'
import { about, agents, sessions } from '../api/routes.ts'
import type { SessionSummary } from '../api/types.ts'
import { zone } from '../words.ts'

export const queries = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 2_000,
      retry: (times, error) => asProblem(error).repeatable && times < 5,
      retryDelay: (times, error) => (asProblem(error).retryAfter ?? Math.min(10, 0.5 * 2 ** times)) * 1000,
    },
  },
})

export const useAgents = () =>
  useQuery({ queryKey: ['agents'], queryFn: ({ signal }) => agents.list({ limit: 200 }, { signal }), staleTime: 30_000 })

const agentQuery = (name: string, version?: number) =>
  queryOptions({
    queryKey: ['agent', name, version ?? null],
    queryFn: ({ signal }) => (version === undefined ? agents.get(name, { signal }) : agents.version(name, version, { signal })),
    staleTime: version === undefined ? 5_000 : Infinity,
  })

export const useAgent = (name: string, version?: number) => useQuery({ ...agentQuery(name, version), enabled: name !== '' })

/** Versions of an agent, newest first; where the API has no list of them, only their numbers are known. */
export const useVersions = (name: string, newest: number | undefined) =>
  useQuery({
    queryKey: ['versions', name, newest],
    queryFn: ({ signal }) =>
      agents
        .versions(name, { signal })
        .then((page) => page.items.map((each) => ({ version: each.version, at: each.created_at as string | null })))
        .catch((error: unknown) => {
          if (!asProblem(error).unsupported) throw asProblem(error)
          return Array.from({ length: newest ?? 1 }, (_, at) => ({ version: (newest ?? 1) - at, at: null as string | null }))
        }),
    enabled: newest !== undefined,
  })

/** The client tools of a session's agent. The page acts as the client: it offers them and asks its user for results. */
export async function clientTools(session: Pick<SessionSummary, 'agent_id' | 'agent_version'> | null): Promise<string[]> {
  if (!session) return []
  const { definition } = await queries.fetchQuery(agentQuery(session.agent_id, session.agent_version))
  return Object.entries(definition.tools ?? {}).flatMap(([name, tool]) => (tool.kind === 'client' ? [name] : []))
}

/** The name of a session's agent; its id until that is known. */
export function useAgentName(session: Pick<SessionSummary, 'agent_id' | 'agent_name'> | null | undefined): string {
  const { data } = useAgents()
  if (!session) return ''
  return session.agent_name ?? data?.items.find((agent) => agent.id === session.agent_id)?.name ?? session.agent_id
}

/** Version, organization and spending of the installation; null where the API has no `/v1/about`. */
export const useAbout = () =>
  useQuery({
    queryKey: ['about'],
    queryFn: ({ signal }) => about({ signal }).catch((error: unknown) => (asProblem(error).unsupported ? null : Promise.reject(asProblem(error)))),
    staleTime: 60_000,
    refetchInterval: 15_000,
  })

export interface ListFilter {
  status?: string
  agent?: string
  /** A version of the agent. */
  version?: number
  suite?: string
  since?: string
  q?: string
  /** Ledger filters: only sessions with a row that matches all, between two days in the browser's time zone. */
  model?: string
  purpose?: string
  from?: string
  to?: string
}

export const useSessionList = (filter: ListFilter) =>
  useInfiniteQuery({
    queryKey: ['sessions', filter],
    queryFn: ({ pageParam, signal }) =>
      sessions.list(
        {
          limit: 100,
          cursor: pageParam,
          ...(filter.status && { status: filter.status }),
          ...(filter.agent && { agent: filter.agent }),
          ...(filter.agent && filter.version && { agent_version: filter.version }),
          ...(filter.suite && { suite: filter.suite }),
          ...(filter.since && { created_after: sinceTime(filter.since) }),
          ...(filter.q && { q: filter.q }),
          ...(filter.model && { billed_model: filter.model }),
          ...(filter.purpose && { billed_purpose: filter.purpose }),
          ...(filter.from && { billed_from: filter.from }),
          ...(filter.to && { billed_to: filter.to }),
          ...(isBilled(filter) && { zone: zone() }),
        },
        { signal },
      ),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next_cursor,
    // The ledger is polled less often: each query reads all its rows in the range.
    refetchInterval: (query) => ((query.state.data?.pages.length ?? 0) <= 1 ? (isBilled(filter) ? 15_000 : 3_000) : false),
  })

/** True if the filter selects sessions by their ledger rows. */
export const isBilled = ({ model, purpose, from, to }: ListFilter): boolean => Boolean(model || purpose || from || to)

/** `1h`, `7d` before now, or a time as it is. */
export function sinceTime(since: string): string {
  const found = /^(\d+)([hd])$/.exec(since)
  if (!found) return since
  const hours = Number(found[1]) * (found[2] === 'd' ? 24 : 1)
  // Whole minutes, so that the same filter sends the same request for a while.
  return new Date(Math.floor((Date.now() - hours * 3_600_000) / 60_000) * 60_000).toISOString()
}

/** Where the API does not search, the page looks through what it has. */
export const matches = (session: SessionSummary, agent: string, q: string): boolean => {
  const wanted = q.toLowerCase()
  return [session.name, session.id, agent, ...session.tags, JSON.stringify(session.initial_context)].some((text) =>
    text.toLowerCase().includes(wanted),
  )
}
