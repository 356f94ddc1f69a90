import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import type { Branch, JsonObject, LedgerRow, Session, Turn } from '../src/api/types.ts'
import { align } from '../src/timeline/align.ts'
import { wilson } from '../src/timeline/interval.ts'
import { amountOf, dollars, exactly, fixed, parse, placesOf, plain, shown, spending } from '../src/timeline/money.ts'
import { EMPTY, pathTo, reduce, turnsOf, withSession, withTurns, type StreamEvent, type Timeline } from '../src/timeline/reduce.ts'
import { children, family, leafBeneath } from '../src/timeline/siblings.ts'
import { layout, type TreeNode } from '../src/timeline/tree.ts'
import { variablesAt } from '../src/timeline/variables.ts'

interface Recording {
  log: { id: number | null; type: string; data: JsonObject }[]
  before: Session
  after: Session
  branches: Branch[]
  ledger: LedgerRow[]
}

const recording = (name: string): Recording =>
  JSON.parse(readFileSync(new URL(`./fixtures/${name}.json`, import.meta.url), 'utf8')) as Recording
const eventsOf = (recorded: Recording): StreamEvent[] => recorded.log.map(({ id, type, data }) => ({ seq: id, type, data }))
const replayed = (events: readonly StreamEvent[], from: Timeline = EMPTY): Timeline => events.reduce(reduce, from)
const NAMES = ['branches', 'barge-in', 'rewound', 'failure']

const shapeOf = (timeline: Timeline) => ({
  visible: timeline.visible,
  turns: timeline.visible.map((turn) => timeline.turns.get(turn)),
  discarded: timeline.discarded
    .map((each) => ({ id: each.id, from: each.from, turns: turnsOf(timeline.turns, each) }))
    .sort((a, b) => (a.id < b.id ? -1 : 1)),
})

describe.each(NAMES)('a replay of "%s"', (name) => {
  const recorded = recording(name)
  const events = eventsOf(recorded)

  test('shows what the API shows', () => {
    const timeline = replayed(events)
    expect(shapeOf(timeline)).toEqual({
      visible: recorded.after.turns.map((turn) => turn.id),
      turns: recorded.after.turns,
      discarded: recorded.branches
        .map((branch) => ({ id: branch.id, from: branch.rewound_from_turn_id, turns: branch.turns.map((turn) => turn.id) }))
        .sort((a, b) => (a.id < b.id ? -1 : 1)),
    })
    expect(timeline.ended).toBe(true)
    expect(timeline.replies.size).toBe(0)
  })

  test('is the same when every event comes twice', () => {
    expect(replayed(events.flatMap((event) => (event.seq === null ? [event] : [event, event])))).toEqual(replayed(events))
  })

  test('continues the same from a snapshot as from the events before it', () => {
    const durable = events.filter((event) => event.seq !== null)
    for (let cut = 1; cut < durable.length; cut += 1) {
      const early = replayed(durable.slice(0, cut))
      const late = withSession({ ...EMPTY, seq: 0 }, { ...recorded.before }, null)
      const again = replayed(durable.slice(cut), { ...late, seq: durable[cut - 1]?.seq ?? 0 })
      expect(again.visible.at(-1)).toBe(replayed(durable.slice(cut), early).visible.at(-1))
    }
  })

  test('updates the session of a snapshot', () => {
    const timeline = replayed(events, withSession(EMPTY, recorded.before, (events.at(-1)?.seq ?? 0) - 2))
    expect(timeline.session?.status).toBe('completed')
    expect(timeline.session?.current_node_id).toBe(recorded.after.current_node_id)
  })

  test('its cost adds up to the last digit', () => {
    const timeline = replayed(events)
    const spent = spending(recorded.ledger, timeline.visible, timeline.hidden)
    expect(plain(spent.total.value)).toBe(recorded.after.cost.total)
  })

  test('gathers the variables that the API returns', () => {
    const timeline = replayed(events)
    const path = timeline.visible.map((turn) => timeline.turns.get(turn)).filter((turn): turn is Turn => turn !== undefined)
    const gathered = variablesAt(recorded.after.initial_context, path).filter((variable) => variable.since !== null)
    for (const { name: variable, value } of gathered) expect(recorded.after.gathered_context[variable]).toEqual(value)
  })
})

test('an interrupted reply keeps its text, and a replaced one is on a branch of its own', () => {
  const timeline = replayed(eventsOf(recording('barge-in')))
  const visible = timeline.visible.map((turn) => timeline.turns.get(turn))
  expect(visible.map((turn) => turn?.status)).toEqual(['completed', 'interrupted', 'completed', 'interrupted', 'completed'])
  expect(visible[1]?.assistant_message?.text.length).toBeGreaterThan(20)
  expect(timeline.discarded).toHaveLength(1)
})

test('deltas make the text of a reply, and a reset replaces it', () => {
  const started: StreamEvent = { seq: 1, type: 'turn_started', data: { turn_id: 't', parent_id: null, index: 0, created_at: 'a', user_message: null } }
  const streamed = (type: string, text: string): StreamEvent => ({ seq: null, type, data: { turn_id: 't', text } })
  const timeline = replayed([started, streamed('reply_delta', 'one '), streamed('reply_delta', 'two'), streamed('reply_reset', 'ONE '), streamed('reply_delta', 'TWO')])
  expect(timeline.replies.get('t')).toBe('ONE TWO')
  expect(replayed([streamed('reply_delta', 'unknown turn')]).replies.size).toBe(0)
})

test('unknown event types are ignored, except for their number', () => {
  const timeline = replayed([{ seq: 7, type: 'something_new', data: {} }])
  expect(timeline).toEqual({ ...EMPTY, seq: 7 })
})

test('a rewind hides turns, and undoing it shows them again', () => {
  const recorded = recording('rewound')
  const events = eventsOf(recorded)
  const until = (seq: number) => replayed(events.filter((event) => event.seq === null || event.seq <= seq))
  const all = until(12)
  expect(all.visible).toHaveLength(4)
  const back = until(13)
  expect([back.visible.length, back.hidden.length, back.hiddenKnown]).toEqual([3, 1, true])
  expect(until(14).visible).toEqual(all.visible)
  expect(until(15).visible).toHaveLength(1)
  expect(until(15).hidden).toHaveLength(3)
})

test('a page that opens a rewound session does not know what is hidden until it reads the log', () => {
  const { before, log } = recording('rewound')
  const opened = withSession(EMPTY, before, 15)
  expect([opened.visible.length, opened.hidden.length, opened.hiddenKnown]).toEqual([1, 0, false])
  const turns = log.filter((event) => event.type === 'turn_completed').map((event) => event.data['turn'] as unknown as Turn)
  expect(pathTo(withTurns(opened, turns).turns, turns.at(-1)?.id ?? null)).toHaveLength(4)
})

test('siblings are in the order of their creation', () => {
  const timeline = replayed(eventsOf(recording('branches')))
  const byParent = children(timeline.turns.values())
  const newest = timeline.turns.get(timeline.visible.at(-1) ?? '')
  expect(newest).toBeDefined()
  if (!newest) return
  const { all, at } = family(byParent, newest)
  expect(all).toHaveLength(3)
  expect(at).toBe(2)
  expect(leafBeneath(byParent, timeline.visible[0] ?? '', new Set(timeline.visible))).toBe(newest.id)
  expect(leafBeneath(byParent, all[0] ?? '', new Set(timeline.visible))).toBe(all[0])
})

describe('the tree', () => {
  const timeline = replayed(eventsOf(recording('branches')))
  const nodes: TreeNode[] = [...timeline.turns.values()].map((turn) => ({ ...turn, amount: amountOf(turn.cost) }))
  const rows = layout(nodes, timeline.leaf)

  test('has every turn once', () => {
    expect(rows.flatMap((row) => row.turns).sort()).toEqual([...timeline.turns.keys()].sort())
  })

  test('has the active branch, and only it, on lane 0', () => {
    const first = rows.filter((row) => row.lane === 0).flatMap((row) => row.turns)
    expect(first).toEqual(timeline.visible)
  })

  test('has money that adds up', () => {
    const total = rows.reduce((sum, row) => sum + row.amount.value, 0n)
    expect(plain(total)).toBe(recording('branches').after.cost.total)
  })

  test('holds a thousand branches without recursion', () => {
    const many: TreeNode[] = Array.from({ length: 5_000 }, (_, at) => ({
      id: `t${at}`,
      parent_id: at === 0 ? null : `t${at % 5 === 0 ? Math.max(0, at - 7) : at - 1}`,
      created_at: String(at).padStart(6, '0'),
      index: at,
      amount: { value: 1n, unpriced: [] },
    }))
    const laid = layout(many, 't4999')
    expect(laid.flatMap((row) => row.turns)).toHaveLength(5_000)
    expect(laid.filter((row) => row.lane === 0).every((row) => row.active)).toBe(true)
  })
})

test('two branches are aligned after what they share', () => {
  const timeline = replayed(eventsOf(recording('branches')))
  const turnsTo = (leaf: string) => pathTo(timeline.turns, leaf).flatMap((turn) => timeline.turns.get(turn) ?? [])
  const [first] = timeline.discarded
  const { common, pairs } = align(turnsTo(first?.leaf ?? ''), turnsTo(timeline.leaf ?? ''))
  expect(common).toHaveLength(2)
  expect(pairs.every((pair) => pair.a?.id !== pair.b?.id)).toBe(true)
})

describe('money', () => {
  test.each([
    ['0', 0n],
    ['0.000000000001', 1n],
    ['1.5', 1_500_000_000_000n],
    ['1E-7', 100_000n],
    ['0.0000000000005', 1n],
    ['-0.25', -250_000_000_000n],
  ])('%s is read exactly', (amount, expected) => expect(parse(amount)).toBe(expected))

  test.each(['', '.', 'abc', '1,5', 'NaN'])('"%s" is no amount', (amount) => expect(() => parse(amount)).toThrow())

  test.each([
    ['0', '$0'],
    ['0.0031', '$0.0031'],
    ['0.000000195', '$0.000000195'],
    ['0.00000019512', '$0.000000195'],
    ['0.12345678', '$0.1235'],
    ['0.99999', '$1.00'],
    ['1.005', '$1.01'],
    ['1234.5', '$1234.50'],
  ])('%s reads %s', (amount, expected) => expect(dollars(parse(amount))).toBe(expected))

  test('an unknown price is never shown as zero', () => {
    expect(shown({ value: parse('0.0412'), unpriced: ['x:y'] })).toBe('≥ $0.0412')
    expect(shown({ value: 0n, unpriced: ['x:y'] })).toBe('unpriced')
  })

  test.each([
    [['0.0045', '0.00928', '0'], ['$0.00450', '$0.00928', '$0.00000']],
    [['12.345', '0.0045'], ['$12.3450', '$0.0045']],
    [['3', '0'], ['$3.00', '$0.00']],
    [['0', '0'], ['$0', '$0']],
    [['0.0000000004', '-0.5'], ['< $0.0001', '−$0.5000']],
    [['0.00012', '0.0000034', '0'], ['$0.00012', '< $0.00001', '$0.00000']],
    [['0.99999', '0.1'], ['$1.0000', '$0.1000']],
  ])('the amounts of a column have the same decimals: %s', (amounts, expected) => {
    const places = placesOf(amounts.map(parse))
    expect(amounts.map((amount) => fixed(parse(amount), places))).toEqual(expected)
  })

  test('an exact amount is written to the last digit', () => {
    expect(exactly(amountOf({ total: '0.000123456789', unpriced_models: ['x:y'] }))).toBe('$0.000123456789, and the unknown price of x:y')
  })

  test('writing and reading give the same', () => {
    for (const amount of ['0.0016636', '0.00030405', '12', '0.1']) expect(plain(parse(amount))).toBe(amount)
  })
})

test('a rate has a confidence interval', () => {
  const range = wilson(4, 5)
  expect(range?.low).toBeCloseTo(0.3755, 3)
  expect(range?.high).toBeCloseTo(0.9638, 3)
  expect(wilson(0, 0)).toBeNull()
})
