/** Texts that several views share, and the format of figures and times. English only; the rest is `Intl`. */

export const MINUS = '−'

const FORMAT = {
  count: new Intl.NumberFormat('en'),
  clock: new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' }),
  minute: new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' }),
  day: new Intl.DateTimeFormat('en', { month: 'short', day: 'numeric' }),
  moment: new Intl.DateTimeFormat('en', { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }),
  full: new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'long' }),
}

export const count = (value: number): string => FORMAT.count.format(value)
export const plural = (value: number, one: string, many = `${one}s`): string => `${count(value)} ${value === 1 ? one : many}`
export const clock = (at: string | number): string => FORMAT.clock.format(new Date(at))
export const fullTime = (at: string): string => `${FORMAT.full.format(new Date(at))}\n${at}`
export const percent = (rate: number): string => `${Math.round(rate * 100)} %`
export const zone = (): string => Intl.DateTimeFormat().resolvedOptions().timeZone

export const moment = (at: string): string => FORMAT.moment.format(new Date(at))
/** `Nov 29` of a day as `2026-11-29`. */
export const dayWords = (day: string): string => FORMAT.day.format(new Date(`${day}T12:00:00`))

/** `Nov 29`, or `Nov 1 – Nov 29`, or open at one end. */
export const daysWords = (from: string | undefined, to: string | undefined): string =>
  from && to ? (from === to ? dayWords(from) : `${dayWords(from)} – ${dayWords(to)}`) : from ? `since ${dayWords(from)}` : to ? `until ${dayWords(to)}` : 'the last 30 days'

/** What was paid for, by the ledger's purposes. */
export const PURPOSES: Record<string, string> = {
  turn: 'replies',
  extraction: 'reading variables',
  caller: 'simulated users',
  judge: 'judges',
  summary: 'summaries',
}

/** The same of one session. */
export const SESSION_PURPOSES: Record<string, string> = {
  turn: 'agent',
  extraction: 'reading variables at the end',
  caller: 'simulated user',
  judge: 'judge',
  summary: 'summaries',
}

/** The time of day for today, else the day. */
export function when(at: string): string {
  const date = new Date(at)
  return date.toDateString() === new Date().toDateString() ? FORMAT.minute.format(date) : FORMAT.day.format(date)
}

/** `0.42 s`, `11 s`, `3 min`, `2 h 5 min`. */
export function duration(seconds: number): string {
  if (seconds < 0.095) return `${Math.round(seconds * 1000)} ms`
  if (seconds < 10) return `${seconds.toFixed(seconds < 1 ? 2 : 1)} s`
  if (seconds < 90) return `${Math.round(seconds)} s`
  const minutes = Math.round(seconds / 60)
  if (minutes < 60) return `${minutes} min`
  return minutes % 60 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${minutes / 60} h`
}

/** How long ago, in one short word. */
export function age(at: string, now: number): string {
  const seconds = Math.max(0, (now - Date.parse(at)) / 1000)
  if (seconds < 60) return 'now'
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`
  return `${Math.floor(seconds / 86_400)} d`
}

export function bytes(size: number): string {
  return size < 1000 ? `${size} B` : size < 1_000_000 ? `${(size / 1000).toFixed(1)} kB` : `${(size / 1_000_000).toFixed(1)} MB`
}

export const STATUS: Record<string, string> = {
  idle: 'Your turn',
  pending_assistant_turn: 'Answering',
  rewound: 'Rewound',
  error: 'Reply failed',
  completed: 'Ended',
  pending: 'Answering',
  failed: 'Failed',
  interrupted: 'Interrupted',
  running: 'Running',
  paused: 'Paused',
  cancelled: 'Cancelled',
  passed: 'Passed',
  inconclusive: 'Inconclusive',
}

/** Why a session ended, for people. */
export const REASONS: Record<string, string> = {
  user_hangup: 'the caller hung up',
  end_node: 'the agent came to its end',
  end_tool: 'the agent ended it',
  handed_over: 'the agent handed it over',
  inactivity: 'nothing was said any more',
  max_turns: 'the limit of turns was reached',
  max_cost: 'the cost limit was reached',
  deadline: 'its time was over',
  caller_hung_up: 'the simulated user hung up',
  caller_max_turns: 'the simulated user reached its turns',
  caller_max_cost: 'the simulated user reached its cost',
  caller_time_over: 'the simulated user’s time was over',
  caller_stalled: 'the simulated user repeated itself',
  caller_failed: 'the simulated user could not be played',
  agent_failed: 'a reply of the agent failed',
  suite_cancelled: 'its suite was cancelled',
}

export const reason = (code: string): string => REASONS[code] ?? code.replaceAll('_', ' ')

/** About how long a voice takes: 15 characters a second, the pace of 150 English words a minute. */
export const spokenSeconds = (text: string): number => text.trim().length / 15

export const hasMarkdown = (text: string): boolean => /(^|\n)\s*([-*+]|\d+\.)\s|\*\*[^*]+\*\*|(^|\n)#{1,6}\s|`[^`]+`|\[[^\]]+\]\([^)]+\)/.test(text)
export const hasLink = (text: string): boolean => /https?:\/\/|www\./.test(text)
