/** Money over time: bars by day, and the same as a table. Amounts are added exactly. */
import { useQuery } from '@tanstack/react-query'
import { getRouteApi, Link } from '@tanstack/react-router'
import { useMemo } from 'react'
import type { UsageRow } from '../api/types.ts'
import { all, usage } from '../api/routes.ts'
import { useAbout, useAgents } from '../sessions/queries.ts'
import { add, amountOf, dollars, NOTHING, parse, plain, shown, type Amount } from '../timeline/money.ts'
import { Button } from '../ui/controls.tsx'
import { download, Empty, Loading, ProblemNote, useTitle } from '../ui/states.tsx'
import { count, plural, zone } from '../words.ts'

const route = getRouteApi('/usage')
const MOST_ROWS = 1_000
const SERIES = ['var(--accent)', 'var(--money)', 'var(--live)', 'var(--warn)', 'var(--ok)', 'var(--control)']

const dayOf = (at: string): string => {
  const date = new Date(at)
  return `${date.getFullYear()}-${String(date.getMonth() + 1).padStart(2, '0')}-${String(date.getDate()).padStart(2, '0')}`
}

interface Row {
  day: string
  group: string
  turns: number
  amount: Amount
  tokens: number
}

/** By day and by what is asked: from the API where it groups, else from the newest ledger rows. */
function useRows(by: 'agent' | 'model', from: string | undefined, to: string | undefined) {
  const agents = useAgents()
  const names = useMemo(() => new Map(agents.data?.items.map((agent) => [agent.id, agent.name])), [agents.data])
  return useQuery({
    queryKey: ['usage', by, from, to, names.size],
    queryFn: async ({ signal }): Promise<{ rows: Row[]; total: Amount; turns: number; partial: boolean }> => {
      const told = await usage.total({ by: ['day', by], zone: zone(), ...(from && { from }), ...(to && { to }) }, { signal })
      const total = amountOf(told.cost)
      if (told.rows) {
        const rows = told.rows.map((row: UsageRow): Row => ({
          day: row.day ?? '',
          group: (by === 'agent' ? (row.agent_name ?? row.agent_id) : row.model) ?? 'other',
          turns: row.turns,
          amount: amountOf(row.cost),
          tokens: row.prompt_tokens + row.completion_tokens,
        }))
        return { rows, total, turns: told.turns, partial: false }
      }
      const ledger = await all((cursor) => usage.ledger({ limit: 200, cursor }, { signal }), MOST_ROWS)
      const found = new Map<string, Row>()
      for (const each of ledger) {
        const day = dayOf(each.created_at)
        if ((from && day < from) || (to && day > to)) continue
        const models = Object.entries(each.usage.llm)
        const parts =
          by === 'agent'
            ? [{ group: names.get(each.agent_id) ?? each.agent_id, amount: amountOf(each.cost), tokens: models.reduce((sum, [, used]) => sum + (used.total_tokens ?? 0), 0) }]
            : models.map(([model, used]) => ({
                group: model,
                amount: { value: parse(each.cost.breakdown[model] ?? '0'), unpriced: each.cost.unpriced_models.filter((name) => name === model) },
                tokens: used.total_tokens ?? 0,
              }))
        for (const part of parts) {
          const key = `${day} ${part.group}`
          const row = found.get(key) ?? { day, group: part.group, turns: 0, amount: NOTHING, tokens: 0 }
          found.set(key, { ...row, turns: row.turns + (each.purpose === 'turn' ? 1 : 0), amount: add(row.amount, part.amount), tokens: row.tokens + part.tokens })
        }
      }
      return { rows: [...found.values()], total, turns: told.turns, partial: ledger.length >= MOST_ROWS }
    },
    refetchInterval: 15_000,
    placeholderData: (before) => before,
  })
}

export function Usage() {
  useTitle('Usage')
  const search = route.useSearch()
  const navigate = route.useNavigate()
  const by = search.by === 'model' ? 'model' : 'agent'
  const found = useRows(by, search.from, search.to)
  const about = useAbout()
  const set = (change: Partial<typeof search>): void => void navigate({ search: (before) => ({ ...before, ...change }), replace: true })
  const rows = useMemo(() => [...(found.data?.rows ?? [])].sort((a, b) => (a.day === b.day ? (a.amount.value < b.amount.value ? 1 : -1) : a.day < b.day ? 1 : -1)), [found.data])
  const unpriced = [...new Set(rows.flatMap((row) => row.amount.unpriced))]
  const groups = [...new Set(rows.map((row) => row.group))]
  const csv = (): void => {
    const lines = rows.map((row) => [row.day, row.group, row.turns, row.tokens, plain(row.amount.value), row.amount.unpriced.join(' ')].map((cell) => `"${String(cell).replaceAll('"', '""')}"`).join(','))
    void download(new Response(`day,${by},turns,tokens,usd,unpriced\n${lines.join('\n')}\n`), 'usage.csv')
  }
  return (
    <main id="main" className="min-h-0 flex-1 overflow-auto">
      <div className="mx-auto flex max-w-4xl flex-col gap-4 p-4 sm:p-6">
        <header className="flex flex-wrap items-center gap-2">
          <h1 className="flex-1 text-title font-semibold max-sm:basis-full">Usage</h1>
          <label className="text-list text-muted">
            from <input type="date" value={search.from ?? ''} onChange={(event) => set({ from: event.target.value || undefined })} className="field text-text" />
          </label>
          <label className="text-list text-muted">
            to <input type="date" value={search.to ?? ''} onChange={(event) => set({ to: event.target.value || undefined })} className="field text-text" />
          </label>
          <select aria-label="Stacked by" value={by} onChange={(event) => set({ by: event.target.value === 'model' ? 'model' : 'agent' })} className="field text-list">
            <option value="agent">by agent</option>
            <option value="model">by model</option>
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
            {found.data.partial && <p className="text-list text-muted">Of the newest {count(MOST_ROWS)} ledger rows only: this API does not group by day.</p>}
            {rows.length === 0 ? (
              <Empty title="Nothing was spent in this time" />
            ) : (
              <>
                {rows.some((row) => row.amount.value > 0n) && <Bars rows={rows} groups={groups} />}
                <table className="w-full text-left text-list">
                  <thead className="text-meta text-muted">
                    <tr>
                      <th className="py-1 font-normal">Day ({zone()})</th>
                      <th className="font-normal">{by === 'agent' ? 'Agent' : 'Model'}</th>
                      <th className="text-right font-normal">Turns</th>
                      <th className="text-right font-normal">Tokens</th>
                      <th className="text-right font-normal">Cost</th>
                    </tr>
                  </thead>
                  <tbody>
                    {rows.map((row) => (
                      <tr key={`${row.day} ${row.group}`} className="border-t border-line">
                        <td className="py-1">{row.day}</td>
                        <td>
                          {by === 'agent' ? (
                            <Link to="/sessions" search={{ agent: row.group }} className="target inline-flex items-center text-accent hover:underline">
                              {row.group}
                            </Link>
                          ) : (
                            <span className="font-mono text-code">{row.group}</span>
                          )}
                        </td>
                        <td className="text-right">{count(row.turns)}</td>
                        <td className="text-right">{count(row.tokens)}</td>
                        <td className="text-right text-money">{shown(row.amount)}</td>
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

/** Stacked bars by day. The table beneath says the same in figures. */
function Bars({ rows, groups }: { rows: readonly Row[]; groups: readonly string[] }) {
  const days = [...new Set(rows.map((row) => row.day))].sort().slice(-60)
  const sums = days.map((day) => add(NOTHING, ...rows.filter((row) => row.day === day).map((row) => row.amount)).value)
  const most = sums.reduce((highest, sum) => (sum > highest ? sum : highest), 1n)
  const height = 140
  // Drawn at the size it is shown at, so that its letters stay legible.
  const width = matchMedia('(min-width: 640px)').matches ? 720 : 320
  const step = width / Math.max(days.length, 7)
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
                const row = rows.find((each) => each.day === day && each.group === group)
                if (!row) return null
                const size = Number((row.amount.value * 10_000n) / most) / 10_000
                const tall = size * (height - 16)
                top -= tall
                return <rect key={group} x={at * step + 2} y={top} width={Math.max(2, Math.min(48, step - 4))} height={tall} fill={SERIES[index % SERIES.length]} />
              })}
              {(days.length <= 10 || at % Math.ceil(days.length / 10) === 0) && (
                <text x={at * step + 2} y={height + 14} fill="var(--muted)" fontSize="11">
                  {day.slice(5)}
                </text>
              )}
            </g>
          )
        })}
      </svg>
      <figcaption className="flex flex-wrap gap-3 text-meta text-muted">
        {groups.map((group, index) => (
          <span key={group} className="inline-flex items-center gap-1">
            <span data-shape className="size-2.5" style={{ background: SERIES[index % SERIES.length] }} /> {group}
          </span>
        ))}
      </figcaption>
    </figure>
  )
}
