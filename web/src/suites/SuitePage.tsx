/** A suite: progress and money on top, the wall or the table, and beside it one run. */
import { useQuery } from '@tanstack/react-query'
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router'
import { useMemo, useState } from 'react'
import { suites } from '../api/routes.ts'
import type { Suite, SuiteRun } from '../api/types.ts'
import { useKeys } from '../keys.ts'
import { queries } from '../sessions/queries.ts'
import { wilson } from '../timeline/interval.ts'
import { add, amountOf, dollars, NOTHING, parse, placesOf } from '../timeline/money.ts'
import { Button, join, Menu, Tip } from '../ui/controls.tsx'
import { Money } from '../ui/Money.tsx'
import { showProblem } from '../ui/toast.tsx'
import { Badge, download, Empty, Loading, Missing, ProblemNote, StatusShape, useNow, useTitle } from '../ui/states.tsx'
import { count, duration, MINUS, moment, percent, plural, STATUS } from '../words.ts'
import { RunPanel } from './RunPanel.tsx'
import { reasonsOf, runKey, useRuns } from './runs.ts'
import { Wall } from './Wall.tsx'

const route = getRouteApi('/suites/$id')

export function SuitePage() {
  const { id } = route.useParams()
  const search = route.useSearch()
  const navigate = route.useNavigate()
  const goTo = useNavigate()
  const { suite, runs, error, pending, loading } = useRuns(id)
  useTitle(suite?.name ?? 'Suite')
  const filtered = useMemo(
    () =>
      runs.filter(
        (run) =>
          (!search.outcome || run.outcome === search.outcome) &&
          (!search.scenario || run.scenario === search.scenario) &&
          (!search.reason || reasonsOf(run).includes(search.reason)),
      ),
    [runs, search.outcome, search.scenario, search.reason],
  )
  const set = (change: Partial<typeof search>, replace = true): void => void navigate({ search: (before) => ({ ...before, ...change }), replace })
  const open = filtered.find((run) => run.session_id !== null && run.session_id === search.run) ?? runs.find((run) => run.session_id === search.run && search.run !== undefined)
  const walk = (step: number): void => {
    const begun = filtered.filter((run) => run.session_id !== null)
    const at = begun.findIndex((run) => run.session_id === search.run)
    const next = begun[Math.min(begun.length - 1, Math.max(0, at + step))]
    if (next?.session_id) set({ run: next.session_id, turn: undefined })
  }
  useKeys({
    nextTurn: () => walk(1),
    previousTurn: () => walk(-1),
    nextRow: () => walk(1),
    previousRow: () => walk(-1),
  })
  if (pending) return <Loading rows={6} height={48} />
  if (!suite)
    return (
      <main id="main" className="flex-1">
        <h1 className="sr-only">Suite</h1>
        <Missing error={error} what="suite">
          <Link to="/suites" className="text-accent underline">
            To the suites
          </Link>
        </Missing>
      </main>
    )
  return (
    <main id="main" className="flex min-h-0 flex-1 flex-col">
      <Head suite={suite} runs={runs} />
      {search.run !== undefined && !open && !loading && (
        <p role="status" className="border-b border-line bg-warn-tint px-4 py-1 text-list">
          The run of this link is not in this suite.{' '}
          <Button look="quiet" onClick={() => set({ run: undefined, turn: undefined })}>
            Show the suite
          </Button>
        </p>
      )}
      <div className="flex min-h-0 flex-1">
        <div className={join('min-w-0 flex-1 overflow-auto', open && 'max-md:hidden')}>
          <Filters suite={suite} runs={runs} filtered={filtered.length} />
          {search.baseline && <Baseline suite={suite} baseline={search.baseline} />}
          {loading ? (
            <Loading rows={Math.min(8, suite.scenarios.length)} height={32} label="Loading the runs" />
          ) : filtered.length === 0 ? (
            <Empty title="No run fits">
              <Button onClick={() => set({ outcome: undefined, reason: undefined, scenario: undefined })}>Show all</Button>
            </Empty>
          ) : search.view === 'table' ? (
            <Table runs={filtered} open={open} choose={(run) => set({ run: run.session_id ?? undefined, turn: undefined }, false)} />
          ) : (
            <Wall
              suite={suite}
              runs={filtered}
              open={open}
              choose={(run) => set({ run: run.session_id ?? undefined, turn: undefined }, false)}
              full={(run) => run.session_id && void goTo({ to: '/sessions/$id', params: { id: run.session_id }, search: {} })}
            />
          )}
        </div>
        {open && (
          <RunPanel
            key={runKey(open)}
            suite={suite}
            run={open}
            turn={search.turn}
            select={(turn) => set({ turn })}
            close={() => set({ run: undefined, turn: undefined })}
            walk={walk}
          />
        )}
      </div>
    </main>
  )
}

function Head({ suite, runs }: { suite: Suite; runs: readonly SuiteRun[] }) {
  const search = route.useSearch()
  const navigate = route.useNavigate()
  const now = useNow(2_000)
  const { progress } = suite
  const done = progress.passed + progress.failed + progress.inconclusive
  const over = suite.outcome !== null
  const seconds = (now - Date.parse(suite.created_at)) / 1000
  const left = !over && done > 0 ? ((suite.planned - done) * seconds) / done : null
  const spent = parse(progress.cost.total)
  const budget = suite.budget_usd === null ? null : parse(suite.budget_usd)
  // An older API does not return it.
  const held = parse((progress as Partial<typeof progress>).held ?? '0')
  const unpriced = add(NOTHING, ...runs.map((run) => amountOf(run.cost))).unpriced
  const command = (name: 'pause' | 'resume' | 'cancel'): void =>
    void suites
      .command(suite.id, name)
      .then(() => queries.invalidateQueries({ queryKey: ['suite', suite.id] }))
      .catch(showProblem)
  return (
    <header className="border-b border-line px-4 py-2">
      <div className="flex flex-wrap items-center gap-x-3 gap-y-1">
        <StatusShape status={suite.outcome ?? suite.status} size={18} />
        <h1 className="text-title font-semibold">{suite.name}</h1>
        <span className="text-list text-muted">
          {suite.agent_name} v{suite.agent_version} · {STATUS[suite.outcome ?? suite.status]}
        </span>
        <span className="flex-1" />
        {suite.status === 'running' && !over && <Button onClick={() => command('pause')}>Pause</Button>}
        {suite.status === 'paused' && <Button onClick={() => command('resume')}>Resume</Button>}
        {!over && (
          <Button look="danger" onClick={() => command('cancel')}>
            Cancel
          </Button>
        )}
        <Button onClick={() => void navigate({ search: (before) => ({ ...before, view: search.view === 'table' ? 'wall' : 'table' }), replace: true })}>
          {search.view === 'table' ? 'Wall' : 'Table'}
        </Button>
        <Menu
          trigger={<Button>Report</Button>}
          entries={[
            { label: 'HTML page', run: () => void download(suites.exported(suite.id, 'html'), `${suite.name}.html`) },
            { label: 'JUnit XML', run: () => void download(suites.exported(suite.id, 'junit'), `${suite.name}.xml`) },
            { label: 'JSON', run: () => void download(suites.exported(suite.id, 'json'), `${suite.name}.json`) },
          ]}
        />
      </div>
      <div className="mt-1 flex flex-wrap items-center gap-x-4 text-list text-muted">
        <span role="progressbar" aria-valuemin={0} aria-valuemax={suite.planned} aria-valuenow={done} aria-label="Runs that are over" className="flex h-2 w-48 overflow-hidden rounded-full bg-hover">
          <span className="bg-ok" style={{ width: `${(progress.passed / suite.planned) * 100}%` }} />
          <span className="bg-bad" style={{ width: `${(progress.failed / suite.planned) * 100}%` }} />
          <span className="bg-warn" style={{ width: `${(progress.inconclusive / suite.planned) * 100}%` }} />
        </span>
        <span>
          {count(done)} of {plural(suite.planned, 'run')}
        </span>
        {!over && <span>{progress.running} under way</span>}
        {left !== null && <span>about {duration(left)} left</span>}
        <span>
          {plural(progress.turns, 'turn')}
          {!over && seconds > 0 && `, ${(progress.turns / seconds).toFixed(1)} a second`}
        </span>
        <span>
          <Money amount={{ value: spent, unpriced }} />
          {budget !== null && ' spent'}
        </span>
        {budget !== null && (
          <>
            {held > 0n && (
              <Tip label="What running conversations may still cost: no other run may use it">
                <span tabIndex={-1}>
                  <span className="text-money">{dollars(held)}</span> held
                </span>
              </Tip>
            )}
            <span>
              <span className="text-money">{dollars(budget - spent - held > 0n ? budget - spent - held : 0n)}</span> left of {dollars(budget)}
            </span>
          </>
        )}
      </div>
    </header>
  )
}

const OUTCOMES = ['passed', 'failed', 'inconclusive'] as const

function Filters({ suite, runs, filtered }: { suite: Suite; runs: readonly SuiteRun[]; filtered: number }) {
  const search = route.useSearch()
  const navigate = route.useNavigate()
  const set = (change: Partial<typeof search>): void => void navigate({ search: (before) => ({ ...before, ...change }), replace: true })
  const reasons = useMemo(() => {
    const counts = new Map<string, number>()
    for (const run of runs) for (const reason of reasonsOf(run)) counts.set(reason, (counts.get(reason) ?? 0) + 1)
    return [...counts].sort((a, b) => b[1] - a[1])
  }, [runs])
  const [all, setAll] = useState(false)
  const most = 6
  const any = search.outcome || search.reason || search.scenario
  return (
    <div className="flex flex-col gap-1 border-b border-line bg-surface px-4 py-2">
      <div className="flex flex-wrap items-center gap-1">
        {OUTCOMES.map((outcome) => (
          <Chip key={outcome} on={search.outcome === outcome} set={(on) => set({ outcome: on ? outcome : undefined })}>
            <StatusShape status={outcome} /> {STATUS[outcome]} {suite.progress[outcome]}
          </Chip>
        ))}
        {search.scenario && (
          <Chip on set={() => set({ scenario: undefined })}>
            {search.scenario} ×
          </Chip>
        )}
        <BaselineChoice suite={suite} value={search.baseline} choose={(baseline) => set({ baseline })} />
        {any && (
          <span className="text-meta text-muted">
            {count(filtered)} of {count(runs.length)}
          </span>
        )}
      </div>
      {reasons.length > 0 && (
        <div className="flex flex-wrap gap-1" aria-label="Reasons">
          {reasons.slice(0, all ? undefined : most).map(([reason, times]) => (
            <Chip key={reason} on={search.reason === reason} set={(on) => set({ reason: on ? reason : undefined })}>
              <strong className="font-semibold">{times}</strong> <span className="max-w-80 truncate">{reason}</span>
            </Chip>
          ))}
          {reasons.length > most && (
            <Button look="quiet" onClick={() => setAll(!all)}>
              {all ? 'Fewer' : `${reasons.length - most} more reasons`}
            </Button>
          )}
        </div>
      )}
    </div>
  )
}

function Chip({ on, set, children }: { on: boolean; set: (on: boolean) => void; children: React.ReactNode }) {
  return (
    <button
      type="button"
      aria-pressed={on}
      onClick={() => set(!on)}
      className={join('target inline-flex max-w-full items-center gap-1 rounded-full border px-2 text-list', on ? 'border-accent bg-accent-tint text-accent' : 'border-control bg-surface hover:bg-hover')}
    >
      {children}
    </button>
  )
}

function BaselineChoice({ suite, value, choose }: { suite: Suite; value: string | undefined; choose: (id: string | undefined) => void }) {
  const list = useQuery({ queryKey: ['suites', 'for baseline'], queryFn: ({ signal }) => suites.list({ limit: 100 }, { signal }) })
  const earlier = list.data?.items.filter((each) => each.id !== suite.id && each.outcome !== null && each.name === suite.name) ?? []
  if (earlier.length === 0 && !value) return null
  return (
    <select aria-label="Compare with an earlier suite" value={value ?? ''} onChange={(event) => choose(event.target.value || undefined)} className="field text-list">
      <option value="">No baseline</option>
      {earlier.map((each) => (
        <option key={each.id} value={each.id}>
          against {moment(each.created_at)} · v{each.agent_version}
        </option>
      ))}
    </select>
  )
}

const CHANGES: Record<string, { words: string; kind: 'ok' | 'bad' | 'warn' | 'plain' }> = {
  worse: { words: 'worse', kind: 'bad' },
  better: { words: 'better', kind: 'ok' },
  perhaps_worse: { words: 'perhaps worse', kind: 'warn' },
  perhaps_better: { words: 'perhaps better', kind: 'plain' },
  same: { words: 'the same', kind: 'plain' },
  new: { words: 'new', kind: 'plain' },
  gone: { words: 'gone', kind: 'plain' },
  undecided: { words: 'undecided', kind: 'plain' },
}

function Baseline({ suite, baseline }: { suite: Suite; baseline: string }) {
  const navigate = useNavigate()
  const report = useQuery({
    queryKey: ['baseline', suite.id, baseline, suite.outcome],
    queryFn: ({ signal }) => suites.report(suite.id, { transcripts: false, baseline }, { signal }),
  })
  const before = useQuery({ queryKey: ['report', baseline], queryFn: ({ signal }) => suites.report(baseline, { transcripts: false }, { signal }), staleTime: Infinity })
  if (report.isPending) return <Loading rows={2} height={24} />
  if (report.isError) return <ProblemNote error={report.error} />
  const rows = report.data.baseline?.scenarios ?? []
  const side = (scenario: string, runs: readonly { scenario: string; outcome: string | null; session_id: string }[] | undefined): string | undefined =>
    (runs?.find((run) => run.scenario === scenario && run.outcome === 'failed') ?? runs?.find((run) => run.scenario === scenario))?.session_id
  return (
    <section aria-label="Against the baseline" className="overflow-x-auto border-b border-line px-4 py-2">
      <table className="w-full text-left text-list">
        <thead className="text-meta text-muted">
          <tr>
            <th className="pr-3 font-normal">Scenario</th>
            <th className="pr-4 text-right font-normal">Before</th>
            <th className="pr-4 text-right font-normal">Now</th>
            <th className="pr-4 text-right font-normal">Difference</th>
            <th className="pr-4 text-right font-normal">95 %</th>
            <th>
              <span className="sr-only">Compare</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => {
            const change = CHANGES[row.change]
            const a = side(row.scenario, before.data?.runs)
            const b = side(row.scenario, report.data.runs)
            return (
              <tr key={row.scenario} className="border-t border-line">
                <th scope="row" className="min-w-36 py-1 pr-3 font-normal">
                  {row.scenario} {change && <Badge kind={change.kind}>{change.words}</Badge>}
                </th>
                <td className="pr-4 text-right whitespace-nowrap">{row.rate_before === null ? 'none' : percent(row.rate_before)}</td>
                <td className="pr-4 text-right whitespace-nowrap">{row.rate_now === null ? 'none' : percent(row.rate_now)}</td>
                <td className="pr-4 text-right whitespace-nowrap">{row.difference === null ? '' : `${row.difference < 0 ? MINUS : row.difference > 0 ? '+' : ''}${percent(Math.abs(row.difference))}`}</td>
                <td className="pr-4 text-right whitespace-nowrap text-muted">{row.interval && `${Math.round(row.interval.low * 100)} … ${Math.round(row.interval.high * 100)} %`.replaceAll('-', MINUS)}</td>
                <td className="text-right">
                  {a && b && <Button onClick={() => void navigate({ to: '/compare', search: { a: `${a}@active`, b: `${b}@active` } })}>Both runs</Button>}
                </td>
              </tr>
            )
          })}
        </tbody>
      </table>
    </section>
  )
}

const FIGURES: ReadonlySet<string> = new Set(['Run', 'Turns', 'Time', 'Cost'])

/** The wall as a table: for people who read figures, and for screen readers. */
function Table({ runs, open, choose }: { runs: readonly SuiteRun[]; open: SuiteRun | undefined; choose: (run: SuiteRun) => void }) {
  const [most, setMost] = useState(200)
  const places = placesOf(runs.map((run) => parse(run.cost.total)))
  return (
    <div className="overflow-x-auto p-4">
      <table className="w-full text-left text-list">
        <thead className="text-meta text-muted">
          <tr>
            {['Scenario', 'Run', 'Outcome', 'Turns', 'Time', 'Cost', 'Reason'].map((name) => (
              <th key={name} className={join('pr-4 font-normal', name === 'Scenario' && 'pl-2', FIGURES.has(name) && 'text-right')}>
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {runs.slice(0, most).map((run) => (
            <tr key={runKey(run)} className={join('border-t border-line hover:bg-hover', run === open && 'bg-accent-tint')}>
              <th scope="row" className="min-w-40 py-1 pr-3 font-normal">
                {run.session_id ? (
                  <Button look="quiet" className="text-left whitespace-normal!" onClick={() => choose(run)}>
                    {run.scenario}
                  </Button>
                ) : (
                  <span className="px-2">{run.scenario}</span>
                )}
              </th>
              <td className="pr-4 text-right">{run.repeat}</td>
              <td className="pr-4">
                <span className="inline-flex items-center gap-1">
                  <StatusShape status={run.outcome ?? run.state} /> {STATUS[run.outcome ?? ''] ?? run.state}
                </span>
              </td>
              <td className="pr-4 text-right">{run.session_id && run.turn_count}</td>
              <td className="pr-4 text-right whitespace-nowrap">{run.seconds !== null && duration(run.seconds)}</td>
              <td className="pr-4 text-right">{run.session_id && <Money amount={amountOf(run.cost)} places={places} />}</td>
              <td className="max-w-80 truncate text-muted">{reasonsOf(run)[0]}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {runs.length > most && (
        <Button className="mt-2" onClick={() => setMost(most + 500)}>
          {count(runs.length - most)} more
        </Button>
      )}
    </div>
  )
}

export const rateOf = (runs: readonly SuiteRun[]) => {
  const passed = runs.filter((run) => run.outcome === 'passed').length
  const decided = runs.filter((run) => run.outcome === 'passed' || run.outcome === 'failed').length
  return { passed, decided, range: wilson(passed, decided) }
}
