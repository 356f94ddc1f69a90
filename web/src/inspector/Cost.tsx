/** The cost by this branch, discarded branches and auxiliary model calls. Added up in the page, exactly. */
import { useQuery } from '@tanstack/react-query'
import { all, usage } from '../api/routes.ts'
import { amountOf, NOTHING, parse, placesOf, spending, type Amount } from '../timeline/money.ts'
import { pathTo } from '../timeline/reduce.ts'
import { useSession } from '../timeline/store.ts'
import { join } from '../ui/controls.tsx'
import { Money } from '../ui/Money.tsx'
import { Badge, Loading, ProblemNote } from '../ui/states.tsx'
import { plural, SESSION_PURPOSES } from '../words.ts'
import type { TabProps } from './Inspector.tsx'

export function Cost({ store, selection, turn, upTo }: TabProps) {
  const { id } = store.getState()
  const timeline = useSession(store, (state) => state.timeline)
  const tree = useSession(store, (state) => state.tree)
  const { session, visible, hidden, turns } = timeline
  const ledger = useQuery({
    queryKey: ['ledger', id, session?.cost.total, turns.size],
    queryFn: ({ signal }) => all((cursor) => usage.ledger({ session: id, limit: 200, cursor }, { signal })),
    placeholderData: (before) => before,
    enabled: session !== null,
    refetchInterval: (query) => (session && query.state.data && total(query.state.data) !== parse(session.cost.total) ? 1_000 : false),
  })
  if (!session || ledger.isPending) return <Loading rows={5} height={24} />
  if (ledger.isError) return <ProblemNote error={ledger.error} retry={() => void ledger.refetch()} />

  const onBranch = new Set(visible)
  // Older turns of the visible branch may not be loaded; discarded turns are known by their ids.
  const discarded = new Set(timeline.discarded.flatMap((branch) => pathTo(turns, branch.leaf)).filter((each) => !onBranch.has(each)))
  const older = ledger.data.filter((row) => row.purpose === 'turn' && !turns.has(row.turn_id) && !tree?.some((each) => each.id === row.turn_id))
  const spent = spending(
    ledger.data,
    [...visible, ...(discarded.size === 0 || timeline.discarded.length < 50 ? older.map((row) => row.turn_id) : [])],
    hidden,
  )
  const settled = spent.total.value === parse(session.cost.total)
  const copied = upTo.filter((each) => session.forked_from !== null && !ledger.data.some((row) => row.turn_id === each.id) && each.created_at < session.created_at)
  const most = upTo.reduce((highest, each) => (spent.byTurn.get(each.id) ?? NOTHING).value > highest ? (spent.byTurn.get(each.id) ?? NOTHING).value : highest, 1n)
  const unpriced = session.cost.unpriced_models
  const models = Object.entries(turn?.cost.breakdown ?? {}).map(([model, amount]) => ({ model, amount: { value: parse(amount), unpriced: [] } }))
  const listed = upTo.slice(-200).map((each) => ({ each, amount: spent.byTurn.get(each.id) ?? amountOf(each.cost) }))
  // All amounts of the pane have the same decimals.
  const places = placesOf([spent.total, spent.branch, spent.hidden, spent.discarded, spent.auxiliary, ...spent.auxiliaryByPurpose.values(), ...models.map((each) => each.amount), ...listed.map((each) => each.amount)].map((amount) => amount.value))

  return (
    <div className="flex flex-col gap-3 p-3 text-list">
      <dl className="grid grid-cols-[1fr_auto] gap-x-4 gap-y-1">
        <Line label="Spent" amount={{ value: parse(session.cost.total), unpriced }} places={places} strong />
        <Line label="This branch" amount={spent.branch} places={places} />
        {hidden.length > 0 && <Line label={`Out of sight after the rewind (${plural(hidden.length, 'turn')})`} amount={spent.hidden} places={places} />}
        <Line label="Discarded branches" amount={spent.discarded} places={places} />
        <Line label="Beside the turns" amount={spent.auxiliary} places={places} />
        {[...spent.auxiliaryByPurpose].map(([purpose, amount]) => (
          <Line key={purpose} label={SESSION_PURPOSES[purpose] ?? purpose} amount={amount} places={places} deep />
        ))}
      </dl>
      {!settled && <Badge kind="warn">not settled yet: the ledger is up to two seconds behind</Badge>}
      {unpriced.length > 0 && <p className="text-warn">The price of {unpriced.join(', ')} is not known: the true amount is higher.</p>}
      {copied.length > 0 && (
        <p className="text-faint">
          {plural(copied.length, 'turn')} copied by the fork: paid in {session.forked_from?.session_id}, in no sum here.
        </p>
      )}
      {turn && models.length > 0 && (
        <section>
          <h3 className="mb-1 text-meta text-muted">Turn #{turn.index}, by model</h3>
          <dl className="grid grid-cols-[1fr_auto] gap-x-4">
            {models.map(({ model, amount }) => (
              <Line key={model} label={model} amount={amount} places={places} />
            ))}
          </dl>
        </section>
      )}
      <section>
        <h3 className="mb-1 text-meta text-muted">By turn, up to here</h3>
        <table className="w-full">
          <tbody>
            {listed.map(({ each, amount }) => {
              const isCopied = copied.includes(each)
              return (
                <tr key={each.id} className={join(each.id === turn?.id && 'bg-accent-tint', isCopied && 'text-faint')}>
                  <td className="w-12 py-0.5">
                    <button type="button" className="target rounded-sm px-1 text-left text-muted hover:bg-hover" onClick={() => selection.go({ turn: each.id })}>
                      #{each.index}
                    </button>
                  </td>
                  <td aria-hidden>
                    <div className="h-2 rounded-sm bg-money" style={{ width: `${isCopied ? 0 : Number((amount.value * 1000n) / most) / 10}%` }} />
                  </td>
                  <td className="w-24 text-right">{isCopied ? 'paid before' : <Money amount={amount} places={places} />}</td>
                </tr>
              )
            })}
          </tbody>
        </table>
      </section>
    </div>
  )
}

const total = (rows: readonly { cost: { total: string } }[]): bigint => rows.reduce((sum, row) => sum + parse(row.cost.total), 0n)

function Line({ label, amount, places, strong = false, deep = false }: { label: string; amount: Amount; places: number; strong?: boolean; deep?: boolean }) {
  return (
    <>
      <dt className={join(strong ? 'font-semibold' : 'text-muted', deep && 'pl-4')}>{label}</dt>
      <dd className={join('text-right text-money', strong && 'font-semibold')}>
        <Money amount={amount} places={places} />
      </dd>
    </>
  )
}
