/**
 * Keeps a stream of events open. It resumes after the last id, takes 20 s of silence for a lost connection, and retries
 * with back-off and jitter, or at once when the network or the page is back. A page hidden for 30 s gives up its place.
 */
import { createParser } from 'eventsource-parser'
import type { StreamEvent } from '../timeline/reduce.ts'
import type { JsonObject } from './types.ts'
import { authorization, useAuth } from './client.ts'
import { takePlace, type Release } from './places.ts'
import { asProblem, Problem, problemOf } from './problems.ts'

export const SILENCE_MS = 20_000
const HIDDEN_GRACE_MS = 30_000
const POLL_MS = 2_000
const BACK_OFF_MS = { first: 500, most: 10_000 }

export type Link =
  | { kind: 'connecting' }
  | { kind: 'live' }
  /** No place was free: the page polls every 2 s. */
  | { kind: 'polling' }
  | { kind: 'lost'; since: number; nextTry: number; problem: Problem }
  | { kind: 'resting' }
  | { kind: 'over' }
  | { kind: 'refused'; problem: Problem }

/** Reads the events of a response to its end, and calls `onChunk` for every chunk. */
export async function readEvents(
  response: Response,
  onEvent: (event: StreamEvent) => void,
  onChunk: () => void = () => undefined,
): Promise<void> {
  const parser = createParser({
    onEvent: ({ id, event, data }) => {
      const seq = id !== undefined && /^\d+$/.test(id) ? Number(id) : null
      onEvent({ seq, type: event ?? 'message', data: JSON.parse(data) as JsonObject })
    },
  })
  const reader = response.body?.getReader()
  if (!reader) return
  const decoder = new TextDecoder()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    onChunk()
    parser.feed(decoder.decode(value, { stream: true }))
  }
}

/** The whole log of a session up to a number, replayed from the start. */
export async function replayLog(sessionId: string, until: number, signal: AbortSignal): Promise<StreamEvent[]> {
  const events: StreamEvent[] = []
  if (until === 0) return events
  const enough = new AbortController()
  const response = await fetch(`/v1/sessions/${encodeURIComponent(sessionId)}/events`, {
    headers: { ...authorization(), 'last-event-id': '0' },
    signal: AbortSignal.any([signal, enough.signal]),
  })
  if (!response.ok) throw await problemOf(response)
  try {
    await readEvents(response, (event) => {
      if (event.seq === null || enough.signal.aborted) return
      events.push(event)
      if (event.seq >= until) enough.abort()
    })
  } catch (error) {
    if (!enough.signal.aborted) throw error
  }
  return events
}

export interface Environment {
  fetch: typeof fetch
  takePlace: () => Promise<Release | null>
  isHidden: () => boolean
  /** Calls back when the page is shown again, hidden, or online again; returns a function that stops this. */
  onChange: (changed: () => void) => () => void
  random: () => number
}

const BROWSER: Environment = {
  fetch: (...given) => fetch(...given),
  takePlace: () => takePlace(),
  isHidden: () => document.visibilityState === 'hidden',
  onChange: (changed) => {
    document.addEventListener('visibilitychange', changed)
    window.addEventListener('online', changed)
    return () => {
      document.removeEventListener('visibilitychange', changed)
      window.removeEventListener('online', changed)
    }
  },
  random: Math.random,
}

export interface ConnectionOptions {
  url: string
  lastId: () => number
  onEvent: (event: StreamEvent) => void
  /** Polls the session while no place for a stream is free. */
  poll: (signal: AbortSignal) => Promise<void>
  isOver: () => boolean
  onLink: (link: Link) => void
}

export class Connection {
  private readonly stopping = new AbortController()
  private wake: () => void = () => undefined
  private stream: AbortController | null = null
  private hiddenSince: number | null = null
  private attempts = 0
  private lostSince: number | null = null

  constructor(
    private readonly options: ConnectionOptions,
    private readonly environment: Environment = BROWSER,
  ) {}

  start(): void {
    const unhook = this.environment.onChange(() => this.changed())
    this.stopping.signal.addEventListener('abort', unhook)
    void this.run()
  }

  stop(): void {
    this.stopping.abort()
    this.stream?.abort()
    this.wake()
  }

  /** Tries again at once. */
  retry(): void {
    this.attempts = 0
    this.wake()
  }

  private get stopped(): boolean {
    return this.stopping.signal.aborted
  }

  private changed(): void {
    if (!this.environment.isHidden()) {
      this.hiddenSince = null
      this.retry()
      return
    }
    this.hiddenSince ??= Date.now()
    const since = this.hiddenSince
    setTimeout(() => {
      if (this.hiddenSince === since && !this.stopped) this.stream?.abort()
    }, HIDDEN_GRACE_MS)
  }

  private get restingLong(): boolean {
    return this.hiddenSince !== null && Date.now() - this.hiddenSince >= HIDDEN_GRACE_MS
  }

  private pause(ms: number): Promise<void> {
    return new Promise((done) => {
      const timer = setTimeout(done, ms)
      this.wake = () => {
        clearTimeout(timer)
        done()
      }
      if (this.stopped) this.wake()
    })
  }

  private async run(): Promise<void> {
    if (this.environment.isHidden()) this.hiddenSince = Date.now() - HIDDEN_GRACE_MS
    while (!this.stopped) {
      if (this.options.isOver()) return this.options.onLink({ kind: 'over' })
      if (this.restingLong) {
        this.options.onLink({ kind: 'resting' })
        await this.pause(600_000)
        continue
      }
      const release = await this.environment.takePlace()
      try {
        if (release) await this.listen()
        else await this.poll()
        this.attempts = 0
      } catch (error) {
        if (this.stopped) return
        const problem = asProblem(error)
        if ([401, 403, 404, 410].includes(problem.status)) {
          this.options.onLink({ kind: 'refused', problem })
          if (problem.status !== 401) return
          await this.keyEntered()
          continue
        }
        release?.()
        await this.lost(problem)
      } finally {
        release?.()
      }
    }
  }

  private keyEntered(): Promise<void> {
    return new Promise((done) => {
      const unhook = useAuth.subscribe((state, before) => {
        if (state.key !== before.key) finish()
      })
      const finish = (): void => {
        unhook()
        done()
      }
      this.stopping.signal.addEventListener('abort', finish)
    })
  }

  private async lost(problem: Problem): Promise<void> {
    this.lostSince ??= Date.now()
    const most = Math.min(BACK_OFF_MS.most, BACK_OFF_MS.first * 2 ** this.attempts)
    const wait = problem.retryAfter === null ? most * (0.5 + this.environment.random() / 2) : problem.retryAfter * 1000
    this.attempts += 1
    this.options.onLink({ kind: 'lost', since: this.lostSince, nextTry: Date.now() + wait, problem })
    await this.pause(wait)
  }

  private async poll(): Promise<void> {
    await this.options.poll(this.stopping.signal)
    this.lostSince = null
    this.options.onLink({ kind: 'polling' })
    await this.pause(POLL_MS)
  }

  private async listen(): Promise<void> {
    const stream = new AbortController()
    this.stream = stream
    let silence = setTimeout(() => stream.abort(), SILENCE_MS)
    const onChunk = (): void => {
      clearTimeout(silence)
      silence = setTimeout(() => stream.abort(), SILENCE_MS)
    }
    if (this.lostSince === null) this.options.onLink({ kind: 'connecting' })
    try {
      const lastId = this.options.lastId()
      const response = await this.environment.fetch(this.options.url, {
        headers: { ...authorization(), accept: 'text/event-stream', ...(lastId > 0 && { 'last-event-id': String(lastId) }) },
        signal: stream.signal,
      })
      if (!response.ok) {
        const problem = await problemOf(response)
        if (problem.status === 401) useAuth.setState({ keyRequired: true })
        throw problem
      }
      this.lostSince = null
      this.attempts = 0
      if (response.status === 204) {
        this.options.onLink({ kind: 'over' })
        this.stopping.abort()
        return
      }
      this.options.onLink({ kind: 'live' })
      await readEvents(response, this.options.onEvent, onChunk)
    } catch (error) {
      if (stream.signal.aborted && this.restingLong) return
      throw error
    } finally {
      clearTimeout(silence)
      this.stream = null
    }
    if (!this.options.isOver() && !this.stopped) throw new Problem(0, 'unreachable', 'The stream ended', 'The connection was closed.')
  }
}
