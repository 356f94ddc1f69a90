import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Session, Turn } from '../src/api/types.ts'
import { createSession, replyOf } from '../src/timeline/store.ts'

const turn = (id: string, parent: string | null, status: Turn['status'], reply: string | null): Turn => ({
  id,
  parent_id: parent,
  index: parent === null ? 0 : 1,
  status,
  created_at: '2026-11-28T12:00:00Z',
  user_message: null,
  assistant_message: reply === null ? null : { text: reply, created_at: '2026-11-28T12:00:01Z', interrupted: false },
  events: [],
  usage: { llm: {}, duration_seconds: 0, model_seconds: 0 },
  cost: { currency: 'USD', total: '0', breakdown: {}, unpriced_models: [] },
  node_id: 'counter',
  error: null,
  imported: false,
}) as unknown as Turn

const session = (...turns: Turn[]): Session =>
  ({ id: 'ses_1', status: 'idle', revision: turns.length, cursor_turn_id: null, is_completed: false, turns, discarded_branches: [] }) as unknown as Session

const GREETING = turn('turn_0', null, 'completed', 'Good day.')

let reads: ((found: Session) => void)[]
let write: (type: string, data: object, seq?: number) => void
let store: ReturnType<typeof createSession>
let close: () => void

beforeEach(() => {
  vi.useFakeTimers()
  reads = []
  const bytes = new TextEncoder()
  vi.stubGlobal('document', { visibilityState: 'visible', addEventListener: () => undefined, removeEventListener: () => undefined })
  vi.stubGlobal('window', { addEventListener: () => undefined, removeEventListener: () => undefined })
  // A browser that draws nothing.
  vi.stubGlobal('requestAnimationFrame', () => 1)
  vi.stubGlobal('cancelAnimationFrame', () => undefined)
  vi.stubGlobal('fetch', (url: string) => {
    if (!url.endsWith('/events')) return new Promise((done) => reads.push((found) => done(Response.json(found))))
    const body = new ReadableStream<Uint8Array>({
      start: (stream) => {
        close = () => stream.close()
        write = (type, data, seq) =>
          stream.enqueue(bytes.encode(`event: ${type}\ndata: ${JSON.stringify(data)}\n${seq === undefined ? '' : `id: ${seq}\n`}\n`))
      },
    })
    return Promise.resolve(new Response(body))
  })
  store = createSession('ses_1')
  store.open()
})

afterEach(() => {
  store.close()
  vi.unstubAllGlobals()
  vi.useRealTimers()
})

const later = (): Promise<unknown> => vi.advanceTimersByTimeAsync(150)

test('a reply goes on and ends while the browser draws no frames', async () => {
  await later()
  write('snapshot', session(GREETING), 2)
  write('turn_started', { turn_id: 'turn_1', parent_id: 'turn_0', index: 1, created_at: '', user_message: null }, 3)
  write('reply_delta', { turn_id: 'turn_1', text: 'For which ' })
  await later()
  const half = store.getState().timeline
  expect(replyOf(half, half.turns.get('turn_1') as Turn)).toBe('For which ')
  write('reply_delta', { turn_id: 'turn_1', text: 'day?' })
  write('turn_completed', { turn: turn('turn_1', 'turn_0', 'completed', 'For which day?') }, 4)
  await later()
  expect(store.getState().timeline.turns.get('turn_1')?.status).toBe('completed')
})

test('a session that was read before the newest events does not undo them', async () => {
  await later()
  write('snapshot', session(GREETING), 2)
  await later()
  const reading = store.actions.refresh()
  write('turn_started', { turn_id: 'turn_1', parent_id: 'turn_0', index: 1, created_at: '', user_message: null }, 3)
  write('turn_completed', { turn: turn('turn_1', 'turn_0', 'completed', 'Yes.') }, 4)
  await later()
  for (const read of reads) read(session(GREETING))
  await reading
  expect(store.getState().timeline.visible).toEqual(['turn_0', 'turn_1'])
  expect(store.getState().timeline.turns.get('turn_1')?.status).toBe('completed')
})

test('a snapshot before the first response shows the age of the record, as that response does', async () => {
  const asOf = new Date(Date.now() - 180_000).toISOString()
  await later()
  write('snapshot', { ...session(GREETING), as_of: asOf }, 2)
  await later()
  for (const read of reads) read({ ...session(GREETING), as_of: asOf })
  await later()
  const { readAt, timeline } = store.getState()
  expect(timeline.session?.as_of).toBe(asOf)
  expect(readAt - Date.parse(asOf)).toBeGreaterThanOrEqual(180_000)
})

test('an ended session is never shown as a lost connection', async () => {
  await later()
  const links: string[] = []
  store.subscribe((state) => links.push(state.link.kind))
  write('snapshot', { ...session(GREETING), status: 'completed', is_completed: true }, 2)
  close()
  await later()
  expect(links).not.toContain('lost')
  expect(store.getState().link.kind).toBe('over')
})
