/** Money over time: bars by day, and the same as a table. Amounts are added exactly. */
import { useQuery } from '@tanstack/react-query'
import { getRouteApi, Link } from '@tanstack/react-router'
import { useMemo } from 'react'
import type { LedgerRow, UsageRow } from '../api/types.ts'
import type { UsageBy } from '../routes.tsx'
import { all, usage } from '../api/routes.ts'
import { type ListFilter, useAbout, useAgents } from '../sessions/queries.ts'
import { add, amountOf, dollars, NOTHING, parse, placesOf, plain, shown, type Amount } from '../timeline/money.ts'
import { Button } from '../ui/controls.tsx'
import { Money } from '../ui/Money.tsx'
import { download, Empty, Loading, ProblemNote, useTitle } from '../ui/states.tsx'
import { count, dayWords, plural, PURPOSES, zone } from '../words.ts'

const route = getRouteApi('/usage')
const MAX_ROWS = 1_000
const SERIES = ['var(--accent)', 'var(--money)', 'var(--live)', 'var(--warn)', 'var(--ok)', 'var(--control)']

const dayOf = (at: string): string => {
  const date = new Date(at)
  return `${date.getFullYear()}-${String(date.getMonth() + 1).padStart(2, '0')}-${String(date.getDate()).padStart(2, '0')}`
}

const DEFAULT_DAYS = 30
const MAX_DAYS = 400

/** The first and last day, with the API's defaults where the URL names only one of them, or none. */
function rangeOf(from: string | undefined, to: string | undefined): [string, string] {
  const today = dayOf(new Date().toISOString())
  const last = to ?? (from && from > today ? from : today)
  return [from ?? daysAfter(last, 1 - DEFAULT_DAYS), last]
}

/** A day as `2026-11-29`, so many days later. */
function daysAfter(day: string, days: number): string {
  const date = new Date(`${day}T12:00:00Z`)
  date.setUTCDate(date.getUTCDate() + days)
  return date.toISOString().slice(0, 10)
}

function daysBetween(first: string, last: string): string[] {
  const days: string[] = []
  for (let day = first; day <= last && days.length < MAX_DAYS; day = daysAfter(day, 1)) days.push(day)
  return days
}

interface Row {
  day: string
  group: string
  /** The filter of the list of sessions for this group. */
  of: ListFilter
  turns: number
  amount: Amount
  tokens: number
}

const HEADS: Record<UsageBy, string> = { day: '', agent: 'Agent', model: 'Model', purpose: 'Purpose' }
/** The only group of usage by day. */
const ALL = 'all'

const groupOf = (row: UsageRow, by: UsageBy): string =>
  by === 'day' ? ALL : by === 'purpose' ? (PURPOSES[row.purpose ?? ''] ?? 'other') : ((by === 'agent' ? (row.agent_name ?? row.agent_id) : row.model) ?? 'other')

const tokensOf = (row: LedgerRow): number => Object.values(row.usage.llm).reduce((sum, used) => sum + (used.total_tokens ?? 0), 0)

/** Rows by day and by the chosen grouping: from the API where it groups, else from the newest ledger rows. */
function useRows(by: UsageBy, from: string | undefined, to: string | undefined) {
  const agents = useAgents()
  const names = useMemo(() => new Map(agents.data?.items.map((agent) => [agent.id, agent.name])), [agents.data])
  return useQuery({
    queryKey: ['usage', by, from, to, names.size],
    queryFn: async ({ signal }): Promise<{ rows: Row[]; total: Amount; turns: number; partial: boolean }> => {
      const response = await usage.total({ by: by === 'day' ? ['day'] : ['day', by], zone: zone(), ...(from && { from }), ...(to && { to }) }, { signal })
      const total = amountOf(response.cost)
      if (response.rows) {
        const rows = response.rows.map((row: UsageRow): Row => ({
          day: row.day ?? '',
          group: groupOf(row, by),
          of: by === 'agent' ? { agent: row.agent_name ?? row.agent_id ?? '' } : by === 'model' ? { model: row.model ?? '' } : by === 'purpose' ? { purpose: row.purpose ?? '' } : {},
          turns: row.turns,
          amount: amountOf(row.cost),
          tokens: row.prompt_tokens + row.completion_tokens,
        }))
        return { rows, total, turns: response.turns, partial: false }
      }
      const ledger = await all((cursor) => usage.ledger({ limit: 200, cursor }, { signal }), MAX_ROWS)
      const found = new Map<string, Row>()
      for (const each of ledger) {
        const day = dayOf(each.created_at)
        if ((from && day < from) || (to && day > to)) continue
        const models = Object.entries(each.usage.llm)
        const parts =
          by !== 'model'
            ? [
                {
                  of: by === 'agent' ? { agent: each.agent_id } : by === 'purpose' ? { purpose: each.purpose } : {},
                  group: by === 'day' ? ALL : by === 'purpose' ? (PURPOSES[each.purpose] ?? each.purpose) : (names.get(each.agent_id) ?? each.agent_id),
                  amount: amountOf(each.cost),
                  tokens: tokensOf(each),
                },
              ]
            : models.map(([model, used]) => ({
                group: model,
                of: { model },
                amount: { value: parse(each.cost.breakdown[model] ?? '0'), unpriced: each.cost.unpriced_models.filter((name) => name === model) },
                tokens: used.total_tokens ?? 0,
              }))
        for (const part of parts) {
          const key = `${day} ${part.group}`
          const row = found.get(key) ?? { day, group: part.group, of: part.of, turns: 0, amount: NOTHING, tokens: 0 }
          found.set(key, { ...row, turns: row.turns + (each.purpose === 'turn' ? 1 : 0), amount: add(row.amount, part.amount), tokens: row.tokens + part.tokens })
        }
      }
      return { rows: [...found.values()], total, turns: response.turns, partial: ledger.length >= MAX_ROWS }
    },
    refetchInterval: 15_000,
    // Rows of another grouping would stand under the wrong column heads.
    placeholderData: (before, query) => (query?.queryKey[1] === by ? before : undefined),
  })
}

export function Usage() {
  useTitle('Usage')
  const search = route.useSearch()
  const navigate = route.useNavigate()
  const by = search.by ?? 'agent'
  const found = useRows(by, search.from, search.to)
  const [first, last] = rangeOf(search.from, search.to)
  const about = useAbout()
  const set = (change: Partial<typeof search>): void => void navigate({ search: (before) => ({ ...before, ...change }), replace: true })
  const rows = useMemo(() => [...(found.data?.rows ?? [])].sort((a, b) => (a.day === b.day ? (a.amount.value < b.amount.value ? 1 : -1) : a.day < b.day ? 1 : -1)), [found.data])
  const unpriced = [...new Set(rows.flatMap((row) => row.amount.unpriced))]
  const places = placesOf(rows.map((row) => row.amount.value))
  const csv = (): void => {
    const lines = rows.map((row) => [row.day, row.group, row.turns, row.tokens, plain(row.amount.value), row.amount.unpriced.join(' ')].map((cell) => `"${String(cell).replaceAll('"', '""')}"`).join(','))
    void download(new Response(`day,${by === 'day' ? 'group' : by},turns,tokens,usd,unpriced\n${lines.join('\n')}\n`), 'usage.csv')
  }
  return (
    <main id="main" className="min-h-0 flex-1 overflow-auto">
      <div className="mx-auto flex max-w-4xl flex-col gap-4 p-4 sm:p-6">
        <header className="flex flex-wrap items-center gap-2">
          <h1 className="flex-1 text-title font-semibold max-sm:basis-full">Usage</h1>
          <label className="text-list text-muted max-sm:w-[calc(50%-4px)]">
            from{' '}
            <input type="date" value={first} max={last} onChange={(event) => set({ from: event.target.value || undefined })} className="field text-text max-sm:w-full max-sm:px-1" />
          </label>
          <label className="text-list text-muted max-sm:w-[calc(50%-4px)]">
            to <input type="date" value={last} min={first} onChange={(event) => set({ to: event.target.value || undefined })} className="field text-text max-sm:w-full max-sm:px-1" />
          </label>
          <select aria-label="Stacked by" value={by} onChange={(event) => set({ by: event.target.value as UsageBy })} className="field text-list max-sm:flex-1">
            <option value="day">by day</option>
            <option value="agent">by agent</option>
            <option value="model">by model</option>
            <option value="purpose">by purpose</option>
          </select>
          <Button onClick={csv} disabled={rows.length === 0}>
            CSV
          </Button>
        </header>
        {found.isPending ? (
          <Loading rows={4} height={60} />
        ) : found.isError ? (
          <ProblemNote error={found.error} retry={() => void found.refetch()} />
        ) : (
          <>
            <p className="text-list text-muted">
              <span className="text-title font-semibold text-money">{shown(found.data.total)}</span> for {plural(found.data.turns, 'turn')}
              {about.data?.quota && ` · ${dollars(parse(about.data.quota.spent))} of ${dollars(parse(about.data.quota.limit))} in ${about.data.quota.month}`}
            </p>
            {unpriced.length > 0 && <p className="rounded-sm bg-warn-tint px-3 py-1 text-list text-warn">The price of {unpriced.join(', ')} is not known: what they cost is in no sum.</p>}
            {found.data.partial && <p className="text-list text-muted">Of the newest {count(MAX_ROWS)} ledger rows only: this API does not group by day.</p>}
            {rows.length === 0 ? (
              <Empty title="Nothing was spent in this time" />
            ) : (
              <>
                {rows.some((row) => row.amount.value > 0n) && <Bars rows={rows} days={daysBetween(first, last)} />}
                <table className="w-full text-left text-list">
                  <thead className="text-meta text-muted">
                    <tr>
                      <th className="py-1 pr-3 font-normal">Day ({zone()})</th>
                      {by !== 'day' && <th className="font-normal">{HEADS[by]}</th>}
                      <th className="pl-2 text-right sm:pl-3 font-normal">Turns</th>
                      <th className="pl-2 text-right sm:pl-3 font-normal">Tokens</th>
                      <th className="pl-2 text-right sm:pl-3 font-normal">Cost</th>
                    </tr>
                  </thead>
                  <tbody>
                    {rows.map((row) => (
                      <tr key={`${row.day} ${row.group}`} className="border-t border-line">
                        <td className="py-1 pr-3 whitespace-nowrap">
                          {by === 'day' ? <ToSessions row={row}>{row.day}</ToSessions> : <Day day={row.day} />}
                        </td>
                        {by !== 'day' && (
                          <td>
                            <ToSessions row={row}>
                              <span className={by === 'model' ? 'font-mono text-code [overflow-wrap:anywhere]' : ''}>{row.group}</span>
                            </ToSessions>
                          </td>
                        )}
                        <td className="pl-2 text-right sm:pl-3">{count(row.turns)}</td>
                        <td className="pl-2 text-right sm:pl-3">{count(row.tokens)}</td>
                        <td className="pl-2 text-right sm:pl-3">
                          <Money amount={row.amount} places={places} />
                        </td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              </>
            )}
          </>
        )}
      </div>
    </main>
  )
}

/** A link from a row to the sessions that it sums up. */
function ToSessions({ row, children }: { row: Row; children: React.ReactNode }) {
  return (
    <Link to="/sessions" search={{ ...row.of, from: row.day, to: row.day }} title="The sessions of this row" className="target inline-flex items-center text-accent hover:underline">
      {children}
    </Link>
  )
}

/** A day, without its year on narrow screens: the range above shows it. */
function Day({ day }: { day: string }) {
  return (
    <>
      <span className="max-sm:hidden">{day.slice(0, 5)}</span>
      {day.slice(5)}
    </>
  )
}

const OTHERS = 'others'

/** The groups that cost most, as many as there are colours; the rest is one group. */
function largest(rows: readonly Row[]): { rows: readonly Row[]; groups: readonly string[] } {
  const sums = new Map<string, bigint>()
  for (const row of rows) if (row.amount.value > 0n) sums.set(row.group, (sums.get(row.group) ?? 0n) + row.amount.value)
  const groups = [...sums].sort((a, b) => (a[1] < b[1] ? 1 : -1)).map(([group]) => group)
  if (groups.length <= SERIES.length) return { rows, groups }
  const shown = groups.slice(0, SERIES.length - 1)
  return { rows: rows.map((row) => (shown.includes(row.group) ? row : { ...row, group: OTHERS })), groups: [...shown, OTHERS] }
}

/** Stacked bars by day. The table beneath says the same in figures. */
function Bars({ rows: all, days }: { rows: readonly Row[]; days: readonly string[] }) {
  const { rows, groups } = largest(all)
  const sums = days.map((day) => add(NOTHING, ...rows.filter((row) => row.day === day).map((row) => row.amount)).value)
  const most = sums.reduce((highest, sum) => (sum > highest ? sum : highest), 1n)
  const height = 140
  // Drawn at the size it is shown at, so that its letters stay legible.
  const width = matchMedia('(min-width: 640px)').matches ? 720 : 320
  const step = width / Math.max(days.length, 7)
  // A date every so often, and the newest always.
  const every = Math.ceil(days.length / (width < 500 ? 4 : 8))
  const isNamed = (at: number): boolean => (days.length - 1 - at) % every === 0
  return (
    <figure>
      <svg aria-hidden viewBox={`0 0 ${width} ${height + 18}`} className="w-full">
        <path d={`M0 ${height}H${width}`} stroke="var(--control)" />
        <text x="0" y="10" fill="var(--muted)" fontSize="11">
          {dollars(most)}
        </text>
        {days.map((day, at) => {
          let top = height
          return (
            <g key={day}>
              {groups.map((group, index) => {
                const own = rows.filter((each) => each.day === day && each.group === group)
                if (own.length === 0) return null
                const size = Number((add(...own.map((row) => row.amount)).value * 10_000n) / most) / 10_000
                const tall = size * (height - 16)
                top -= tall
                return <rect key={group} x={at * step + 1} y={top} width={Math.max(1, Math.min(48, step - 2))} height={tall} fill={SERIES[index % SERIES.length]} />
              })}
              {isNamed(at) && (
                <text {...(at === days.length - 1 && days.length >= 7 ? { x: width, textAnchor: 'end' } : { x: at * step + 2 })} y={height + 14} fill="var(--muted)" fontSize="11">
                  {dayWords(day)}
                </text>
              )}
            </g>
          )
        })}
      </svg>
      {groups.length > 1 && (
      <figcaption className="flex flex-wrap gap-3 text-meta text-muted">
        {groups.map((group, index) => (
          <span key={group} className="inline-flex items-center gap-1">
            <span data-shape className="size-2.5" style={{ background: SERIES[index % SERIES.length] }} /> {group}
          </span>
        ))}
      </figcaption>
      )}
    </figure>
  )
}
