/** The wall: rows are scenarios, columns repeats, each cell of 24 px a run. A thousand live runs fit on one screen. */
import { useVirtualizer } from '@tanstack/react-virtual'
import { useLayoutEffect, useMemo, useRef, useState } from 'react'
import { getRouteApi } from '@tanstack/react-router'
import type { Suite, SuiteRun } from '../api/types.ts'
import { wilson } from '../timeline/interval.ts'
import { add, type Amount, amountOf, NOTHING, placesOf } from '../timeline/money.ts'
import { join } from '../ui/controls.tsx'
import { Money } from '../ui/Money.tsx'
import { StatusShape } from '../ui/states.tsx'
import { count, duration, percent, STATUS } from '../words.ts'
import { reasonsOf, runKey } from './runs.ts'

const route = getRouteApi('/suites/$id')
/** Room for the head of a row, with the gaps around it, in px. */
const HEAD = 330
const MIN_WIDTH_OF_FIGURES = 460
const MIN_WIDTH_OF_RANGES = 640
const FIGURES = 'grid min-w-0 flex-1 items-center gap-x-3'
const COLUMNS = { ranges: 'grid-cols-[120px_minmax(0,1fr)_48px_56px_80px]', plain: 'grid-cols-[minmax(0,1fr)_48px_56px_80px]' }
/** A cell and its gap, in px: 24 for a mouse, 44 for a finger. */
const CELL = matchMedia('(pointer: coarse)').matches ? 46 : 26

interface WallProps {
  suite: Suite
  runs: readonly SuiteRun[]
  open: SuiteRun | undefined
  choose: (run: SuiteRun) => void
  full: (run: SuiteRun) => void
}

/** Cells wrap into lines of as many as fit; a scenario of 1,000 repeats takes several lines. */
export function Wall({ suite, runs, open, choose, full }: WallProps) {
  const navigate = route.useNavigate()
  const scroller = useRef<HTMLDivElement>(null)
  const [width, setWidth] = useState(600)
  const [hovered, setHovered] = useState<SuiteRun | null>(null)
  useLayoutEffect(() => {
    const box = scroller.current
    if (!box) return
    const watch = new ResizeObserver(() => setWidth(box.clientWidth))
    watch.observe(box)
    return () => watch.disconnect()
  }, [])
  const rows = useMemo(() => {
    const byScenario = new Map<string, SuiteRun[]>()
    for (const run of runs) byScenario.set(run.scenario, [...(byScenario.get(run.scenario) ?? []), run])
    return suite.scenarios.flatMap((scenario) => {
      const own = byScenario.get(scenario.id)
      return own ? [{ scenario, runs: own, spent: add(NOTHING, ...own.map((run) => amountOf(run.cost))) }] : []
    })
  }, [suite.scenarios, runs])
  const narrow = width < 560
  const fitting = Math.max(4, Math.floor((width - (narrow ? 32 : HEAD)) / CELL))
  const longest = rows.reduce((most, row) => Math.max(most, row.runs.length), 1)
  // Few repeats leave room for the figures of the row beside its cells.
  const left = width - HEAD - longest * CELL
  const roomy = !narrow && left >= MIN_WIDTH_OF_FIGURES
  const ranges = left >= MIN_WIDTH_OF_RANGES
  const perLine = roomy ? longest : fitting
  const places = placesOf(rows.map((row) => row.spent.value))
  const virtualizer = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: (at) => {
      const cells = Math.ceil((rows[at]?.runs.length ?? 1) / perLine) * CELL
      return narrow ? cells + 56 : Math.max(cells, 34) + 18
    },
    getItemKey: (at) => rows[at]?.scenario.id ?? at,
    overscan: 4,
  })

  const order = useMemo(() => rows.flatMap((row) => row.runs), [rows])
  const focusOn = (run: SuiteRun | undefined): void => {
    if (!run) return
    setHovered(run)
    scroller.current?.querySelector<HTMLElement>(`[data-run="${CSS.escape(runKey(run))}"]`)?.focus()
  }
  const shown = hovered ?? open
  return (
    <div className="flex min-h-0 flex-col">
      {roomy && (
        <div aria-hidden className="flex gap-3 border-b border-line px-4 py-1 text-meta text-muted">
          <span className="w-72 shrink-0">Scenario</span>
          <span className="shrink-0" style={{ width: perLine * CELL }}>
            {longest > 1 ? 'Runs' : 'Run'}
          </span>
          <div className={join(FIGURES, ranges ? COLUMNS.ranges : COLUMNS.plain)}>
            {ranges && <span>Passed, 95 %</span>}
            <span>Why not</span>
            <span className="text-right" title="on average">
              Turns
            </span>
            <span className="text-right" title="on average">
              Time
            </span>
            <span className="text-right" title="of all runs">
              Cost
            </span>
          </div>
        </div>
      )}
      <div ref={scroller} className="max-h-[70dvh] overflow-auto">
        <div role="grid" aria-label="Runs by scenario" className="relative" style={{ height: virtualizer.getTotalSize() }}>
          {virtualizer.getVirtualItems().map((virtual) => {
            const row = rows[virtual.index]
            if (!row) return null
            const passed = row.runs.filter((run) => run.outcome === 'passed').length
            const decided = row.runs.filter((run) => run.outcome === 'passed' || run.outcome === 'failed').length
            const range = wilson(passed, decided)
            return (
              <div
                key={virtual.key}
                ref={virtualizer.measureElement}
                data-index={virtual.index}
                role="row"
                className={join('absolute top-0 left-0 flex w-full gap-3 border-b border-line px-4 py-2', narrow && 'flex-col gap-1')}
                style={{ transform: `translateY(${virtual.start}px)` }}
              >
                <div role="rowheader" className={join('shrink-0', narrow ? 'w-full' : 'w-72')}>
                <button
                  type="button"
                  onClick={() => void navigate({ search: (before) => ({ ...before, scenario: before.scenario ? undefined : row.scenario.id }), replace: true })}
                  className="target flex w-full items-start gap-2 text-left text-list hover:underline"
                >
                  <span className="mt-px shrink-0">{row.scenario.outcome ? <StatusShape status={row.scenario.outcome} /> : <span className="inline-block w-3.5" />}</span>
                  <span className="min-w-0 flex-1">
                    <span className="block font-medium break-words">{row.scenario.id}</span>
                    <span className="block text-meta text-muted">
                      {decided > 0 && `${percent(passed / decided)}${range ? ` (${Math.round(range.low * 100)}–${Math.round(range.high * 100)})` : ''} `}
                      {row.runs.some((run) => run.session_id !== null) ? (
                        <Money amount={row.spent} places={places} {...(roomy && { className: 'sr-only' })} />
                      ) : (
                        'waiting'
                      )}
                    </span>
                  </span>
                </button>
                </div>
                <div className="flex shrink-0 flex-wrap content-start gap-0.5" style={{ width: perLine * CELL }}>
                  {row.runs.map((run) => {
                    const index = order.indexOf(run)
                    return (
                      <Cell
                        key={run.repeat}
                        run={run}
                        isOpen={run === open}
                        tabbable={run === (open ?? order[0])}
                        choose={choose}
                        hover={setHovered}
                        keys={{
                          ArrowRight: () => focusOn(order[index + 1]),
                          ArrowLeft: () => focusOn(order[index - 1]),
                          ArrowDown: () => focusOn(order[index + perLine] ?? order.at(-1)),
                          ArrowUp: () => focusOn(order[index - perLine] ?? order[0]),
                          Enter: () => (run === open ? full(run) : choose(run)),
                        }}
                      />
                    )
                  })}
                </div>
                {roomy && <Figures runs={row.runs} range={range} ranges={ranges} rate={decided > 0 ? passed / decided : null} spent={row.spent} places={places} />}
              </div>
            )
          })}
        </div>
      </div>
      <p className="min-h-7 truncate border-t border-line px-4 py-1 text-list text-muted" aria-live="off">
        {shown ? (
          <>
            <span className="font-medium text-text">
              {shown.scenario} #{shown.repeat}
            </span>{' '}
            · {STATUS[shown.outcome ?? ''] ?? shown.state}
            {shown.turn_count > 0 && ` · turn ${shown.turn_count}`}
            {shown.last_said ? ` · “${shown.last_said}”` : reasonsOf(shown)[0] ? ` · ${reasonsOf(shown)[0]}` : ''}
          </>
        ) : (
          'Point at a run, or walk with arrows; Enter opens it.'
        )}
      </p>
    </div>
  )
}

interface FiguresProps {
  runs: readonly SuiteRun[]
  range: { low: number; high: number } | null
  /** True to draw `range`, which the head of the row shows as well. */
  ranges: boolean
  rate: number | null
  spent: Amount
  places: number
}

const mean = (values: readonly number[]): number | null => (values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length)

/** The results of a scenario's runs. Screen readers find them in the row's head, the filters and the table. */
function Figures({ runs, range, ranges, rate, spent, places }: FiguresProps) {
  const begun = runs.filter((run) => run.session_id !== null)
  const turns = mean(begun.map((run) => run.turn_count))
  const seconds = mean(begun.flatMap((run) => run.seconds ?? []))
  const reasons = new Map<string, number>()
  for (const reason of runs.flatMap(reasonsOf)) reasons.set(reason, (reasons.get(reason) ?? 0) + 1)
  const [first, ...others] = [...reasons].sort((a, b) => b[1] - a[1])
  return (
    <div aria-hidden className={join(FIGURES, ranges ? COLUMNS.ranges : COLUMNS.plain, 'self-center text-list')}>
      {ranges && (
        <span>
          {rate !== null && range && (
            <svg data-shape width="120" height="14" className="block">
              <path d="M4 7H116" stroke="var(--line)" strokeWidth="2" />
              <path d={`M${4 + range.low * 112} 7H${4 + range.high * 112}`} stroke="var(--control)" strokeWidth="4" strokeLinecap="round" />
              <circle cx={4 + rate * 112} cy="7" r="4" fill="var(--text)" />
            </svg>
          )}
        </span>
      )}
      <span className="min-w-0 truncate text-muted" title={[...reasons].map(([reason, times]) => `${times} × ${reason}`).join('\n')}>
        {first && `${first[1]} × ${first[0]}`}
        {others.length > 0 && ` · ${count(others.length)} more`}
      </span>
      <span className="text-right">{turns !== null && (Number.isInteger(turns) ? turns : turns.toFixed(1))}</span>
      <span className="text-right whitespace-nowrap">{seconds !== null && duration(seconds)}</span>
      <span className="text-right">{begun.length > 0 && <Money amount={spent} places={places} />}</span>
    </div>
  )
}

interface CellProps {
  run: SuiteRun
  isOpen: boolean
  tabbable: boolean
  choose: (run: SuiteRun) => void
  hover: (run: SuiteRun | null) => void
  keys: Record<string, () => void>
}

const GROUNDS: Record<string, string> = { passed: 'bg-ok-tint', failed: 'bg-bad-tint', inconclusive: 'bg-warn-tint', talking: 'bg-live-tint', judging: 'bg-live-tint' }

function Cell({ run, isOpen, tabbable, choose, hover, keys }: CellProps) {
  const state = run.cut_short && run.outcome !== 'failed' ? 'cut' : (run.outcome ?? run.state)
  return (
    <button
      type="button"
      role="gridcell"
      data-run={runKey(run)}
      tabIndex={tabbable ? 0 : -1}
      disabled={run.session_id === null}
      aria-label={`${run.scenario}, run ${run.repeat}: ${STATUS[run.outcome ?? ''] ?? run.state}${run.cut_short ? ', cut short' : ''}`}
      aria-selected={isOpen}
      onClick={() => choose(run)}
      onPointerEnter={() => hover(run)}
      onPointerLeave={() => hover(null)}
      onFocus={() => hover(run)}
      onKeyDown={(event) => {
        const act = keys[event.key]
        if (!act) return
        event.preventDefault()
        act()
      }}
      className={join('target inline-flex items-center justify-center rounded-sm', GROUNDS[run.outcome ?? run.state] ?? 'bg-sunken', isOpen && 'outline-2 outline-accent')}
    >
      {run.state === 'talking' && run.turn_count > 0 ? <span className="text-meta text-live">{run.turn_count}</span> : <StatusShape status={state} size={CELL / 2} />}
    </button>
  )
}
