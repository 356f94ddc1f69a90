import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { takePlace } from '../src/api/places.ts'
import { Problem, problemOf } from '../src/api/problems.ts'
import { Connection, readEvents, SILENCE_MS, type ConnectionOptions, type Environment, type Link } from '../src/api/stream.ts'
import type { StreamEvent } from '../src/timeline/reduce.ts'

/** A stream that a test writes into, piece by piece. */
function script() {
  let controller: ReadableStreamDefaultController<Uint8Array>
  const body = new ReadableStream<Uint8Array>({ start: (given) => void (controller = given) })
  const bytes = new TextEncoder()
  return {
    response: new Response(body, { status: 200 }),
    write: (text: string) => controller.enqueue(bytes.encode(text)),
    end: () => controller.close(),
    fail: () => controller.error(new TypeError('network error')),
  }
}

const tick = () => vi.advanceTimersByTimeAsync(0)

describe('reading', () => {
  test('pieces of any size make the same events', async () => {
    const text = ': hello\n\nevent: turn_started\ndata: {"turn_id":"tü"}\nid: 4\n\nevent: reply_delta\ndata: {"text":"a"}\n\n'
    const bytes = new TextEncoder().encode(text)
    for (const size of [1, 2, 7, bytes.length]) {
      const body = new ReadableStream<Uint8Array>({
        start(controller) {
          for (let at = 0; at < bytes.length; at += size) controller.enqueue(bytes.slice(at, at + size))
          controller.close()
        },
      })
      const received: StreamEvent[] = []
      await readEvents(new Response(body), (event) => received.push(event))
      expect(received).toEqual([
        { seq: 4, type: 'turn_started', data: { turn_id: 'tü' } },
        { seq: null, type: 'reply_delta', data: { text: 'a' } },
      ])
    }
  })
})

describe('a connection', () => {
  let links: Link[]
  let received: StreamEvent[]
  let streams: ReturnType<typeof script>[]
  let requests: Record<string, string>[]
  let hidden: boolean
  let over: boolean
  let places: number
  let polls: number
  let changed: () => void
  let connection: Connection

  const environment = (): Environment => ({
    fetch: (_, init) => {
      requests.push(init?.headers as Record<string, string>)
      const next = script()
      streams.push(next)
      init?.signal?.addEventListener('abort', () => next.fail())
      return Promise.resolve(next.response)
    },
    takePlace: () => {
      if (places === 0) return Promise.resolve(null)
      places -= 1
      let given = false
      return Promise.resolve(() => {
        if (!given) places += 1
        given = true
      })
    },
    isHidden: () => hidden,
    onChange: (callback) => {
      changed = callback
      return () => undefined
    },
    random: () => 1,
  })

  const options = (): ConnectionOptions => ({
    url: '/v1/sessions/s/events',
    lastId: () => received.reduce((last, event) => Math.max(last, event.seq ?? 0), 0),
    onEvent: (event) => received.push(event),
    poll: () => {
      polls += 1
      return Promise.resolve()
    },
    isOver: () => over,
    onLink: (link) => links.push(link),
  })

  beforeEach(() => {
    vi.useFakeTimers()
    links = []
    received = []
    streams = []
    requests = []
    hidden = false
    over = false
    places = 4
    polls = 0
    connection = new Connection(options(), environment())
  })

  afterEach(() => {
    connection.stop()
    vi.useRealTimers()
  })

  const kinds = () => links.map((link) => link.kind)
  const event = (id: number) => `event: turn_started\ndata: {}\nid: ${id}\n\n`

  test('resumes after its last event, with a growing pause', async () => {
    connection.start()
    await tick()
    streams[0]?.write(event(3))
    await tick()
    streams[0]?.fail()
    await tick()
    expect(kinds()).toEqual(['connecting', 'live', 'lost'])
    expect(streams).toHaveLength(1)
    await vi.advanceTimersByTimeAsync(500)
    expect(requests[1]?.['last-event-id']).toBe('3')
    expect(kinds().at(-1)).toBe('live')
  })

  test('treats 20 s without a byte as a dead connection', async () => {
    connection.start()
    await tick()
    await vi.advanceTimersByTimeAsync(SILENCE_MS - 1_000)
    streams[0]?.write(': still here\n\n')
    await vi.advanceTimersByTimeAsync(SILENCE_MS - 1_000)
    expect(kinds()).toEqual(['connecting', 'live'])
    await vi.advanceTimersByTimeAsync(2_000)
    expect(kinds().at(2)).toBe('lost')
  })

  test('tries again at once when the network is back', async () => {
    connection.start()
    await tick()
    streams[0]?.fail()
    await tick()
    changed()
    await tick()
    expect(streams).toHaveLength(2)
  })

  test('polls while no place is free, and streams as soon as one is', async () => {
    places = 0
    connection.start()
    await tick()
    await vi.advanceTimersByTimeAsync(4_000)
    expect(kinds()).toContain('polling')
    expect([polls, streams.length]).toEqual([3, 0])
    places = 1
    await vi.advanceTimersByTimeAsync(2_000)
    expect(streams).toHaveLength(1)
  })

  test('releases its place after 30 s hidden, and reconnects when it is visible', async () => {
    connection.start()
    await tick()
    hidden = true
    changed()
    for (let second = 0; second < 29; second += 1) {
      await vi.advanceTimersByTimeAsync(1_000)
      streams[0]?.write(': \n\n')
    }
    expect(places).toBe(3)
    await vi.advanceTimersByTimeAsync(2_000)
    expect([places, kinds().at(-1)]).toEqual([4, 'resting'])
    hidden = false
    changed()
    await tick()
    expect(streams).toHaveLength(2)
  })

  test('stops when the API has no more events', async () => {
    const answers: Response[] = [new Response(null, { status: 204 })]
    const quiet = new Connection(options(), { ...environment(), fetch: () => Promise.resolve(answers.shift() as Response) })
    quiet.start()
    await vi.advanceTimersByTimeAsync(60_000)
    expect([kinds(), answers.length]).toEqual([['connecting', 'over'], 0])
  })

  test('stops when the session is over', async () => {
    connection.start()
    await tick()
    over = true
    streams[0]?.end()
    await tick()
    expect(kinds().at(-1)).toBe('over')
  })
})

test('there are four places, and a released one is free again', async () => {
  const held = new Set<string>()
  const request = (name: string, _: LockOptions, work: (lock: Lock | null) => unknown): Promise<unknown> => {
    if (held.has(name)) return Promise.resolve(work(null))
    held.add(name)
    return Promise.resolve(work({ name, mode: 'exclusive' })).finally(() => held.delete(name))
  }
  const locks = { request, query: () => Promise.resolve({}) } as unknown as LockManager
  const taken = []
  for (let each = 0; each < 4; each += 1) taken.push(await takePlace(locks))
  expect(taken.every(Boolean)).toBe(true)
  expect(await takePlace(locks)).toBeNull()
  taken[1]?.()
  await new Promise((done) => setTimeout(done))
  expect(await takePlace(locks)).not.toBeNull()
})

test('a problem keeps the figures and the pause that the API names', async () => {
  const body = { title: 'T', detail: 'D', code: 'revision_conflict', expected_revision: 2, actual_revision: 4 }
  const problem = await problemOf(new Response(JSON.stringify(body), { status: 409, headers: { 'retry-after': '3' } }))
  expect([problem.code, problem.figures['actual_revision'], problem.retryAfter, problem.repeatable]).toEqual(['revision_conflict', 4, 3, false])
  const html = await problemOf(new Response('<html>', { status: 502 }))
  expect(html.code).toBe('http_502')
  expect(new Problem(503, 'unavailable', '', '').repeatable).toBe(true)
})
