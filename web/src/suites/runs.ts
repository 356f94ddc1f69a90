/** A suite and its runs, polled while it runs. */
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { useMemo } from 'react'
import { asProblem } from '../api/problems.ts'
import { all, suites } from '../api/routes.ts'
import type { RunReport, Suite, SuiteRun } from '../api/types.ts'

const POLL_MS = 2_000

export const runKey = (run: Pick<SuiteRun, 'scenario' | 'repeat'>): string => `${run.scenario} ${run.repeat}`

/** A run taken from a report, for an API without a list of runs. */
const fromReport = (run: RunReport): SuiteRun => ({
  scenario: run.scenario,
  repeat: run.repeat,
  seed: run.seed,
  session_id: run.session_id,
  state: run.outcome !== null ? 'done' : run.completion_reason !== null ? 'judging' : 'talking',
  outcome: run.outcome,
  criteria: run.criteria,
  findings: run.findings,
  cut_short: run.cut_short,
  completion_reason: run.completion_reason,
  error: run.error,
  turn_count: run.turn_count,
  last_said: null,
  cost: { currency: 'USD', total: run.cost, breakdown: {}, unpriced_models: run.unpriced_models },
  cost_by_purpose: {},
  started_at: run.started_at,
  seconds: run.seconds,
  updated_at: run.started_at,
})

const waiting = (scenario: string, repeat: number): SuiteRun => ({
  scenario,
  repeat,
  seed: 0,
  session_id: null,
  state: 'waiting',
  outcome: null,
  criteria: [],
  findings: [],
  cut_short: null,
  completion_reason: null,
  error: null,
  turn_count: 0,
  last_said: null,
  cost: { currency: 'USD', total: '0', breakdown: {}, unpriced_models: [] },
  cost_by_purpose: {},
  started_at: null,
  seconds: null,
  updated_at: '',
})

/** Every planned run, including those not started yet, in the order of the file. */
export function complete(suite: Suite, runs: readonly SuiteRun[]): SuiteRun[] {
  const known = new Map(runs.map((run) => [runKey(run), run]))
  return suite.scenarios.flatMap((scenario) =>
    Array.from({ length: scenario.planned }, (_, at) => known.get(`${scenario.id} ${at + 1}`) ?? waiting(scenario.id, at + 1)),
  )
}

const isUnfinished = (suite: Suite | undefined): boolean => suite === undefined || suite.outcome === null

export function useSuite(id: string) {
  return useQuery({
    queryKey: ['suite', id],
    queryFn: ({ signal }) => suites.get(id, { signal }),
    enabled: id !== '',
    refetchInterval: (query) => (isUnfinished(query.state.data) ? POLL_MS : false),
  })
}

/** `pending` is true until the suite is loaded, `loading` until its runs are: until then every run is `waiting`. */
export function useRuns(id: string): { suite: Suite | undefined; runs: SuiteRun[]; error: unknown; pending: boolean; loading: boolean } {
  const client = useQueryClient()
  const suite = useSuite(id)
  const over = !isUnfinished(suite.data)
  const key = ['runs', id, over]
  const runs = useQuery({
    queryKey: key,
    queryFn: async ({ signal }): Promise<{ runs: SuiteRun[]; listed: boolean }> => {
      const before = client.getQueryData<{ runs: SuiteRun[]; listed: boolean }>(key)
      try {
        const newest = before?.listed ? before.runs.reduce((latest, run) => (run.updated_at > latest ? run.updated_at : latest), '') : ''
        const changed = await all((cursor) => suites.runs(id, { limit: 200, cursor, ...(newest && { updated_after: newest }) }, { signal }))
        const merged = new Map([...(before?.runs ?? []), ...changed].map((run) => [runKey(run), run]))
        return { runs: [...merged.values()], listed: true }
      } catch (error) {
        if (!asProblem(error).unsupported) throw error
        const report = await suites.report(id, { transcripts: false }, { signal })
        return { runs: report.runs.map(fromReport), listed: false }
      }
    },
    enabled: id !== '' && suite.data !== undefined,
    refetchInterval: over ? false : POLL_MS,
    placeholderData: (previous) => previous,
  })
  const list = useMemo(() => (suite.data ? complete(suite.data, runs.data?.runs ?? []) : []), [suite.data, runs.data])
  return { suite: suite.data, runs: list, error: suite.error ?? runs.error, pending: suite.isPending, loading: runs.data === undefined && !runs.isError }
}

/** Why a run did not pass, in words that are the same for the same cause. */
export function reasonsOf(run: SuiteRun): string[] {
  if (run.outcome === null || run.outcome === 'passed') return []
  const found = [
    ...run.findings.map((finding) => `check ${finding.check}`),
    ...run.criteria.filter((each) => each.outcome !== 'passed').map((each) => `${each.outcome === 'inconclusive' ? 'undecided: ' : ''}${each.criterion}`),
    ...(run.cut_short ? [`cut short: ${run.cut_short.replaceAll('_', ' ')}`] : []),
    ...(run.error ? [`error: ${run.error}`] : []),
  ]
  return [...new Set(found.length > 0 ? found : [run.outcome])]
}

/** The turns named by criteria that did not pass and by checks, each once. */
export const quotedTurns = (run: SuiteRun): string[] => [
  ...new Set([
    ...run.criteria.filter((each) => each.outcome !== 'passed').flatMap((each) => each.turn_ids),
    ...run.findings.flatMap((each) => each.turn_ids),
  ]),
]
