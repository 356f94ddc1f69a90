/** Problems of the API (RFC 9457), with advice for each code. */

export interface Fault {
  place: string
  message: string
}

export class Problem extends Error {
  override name = 'Problem'

  constructor(
    readonly status: number,
    readonly code: string,
    readonly title: string,
    readonly detail: string,
    readonly figures: Readonly<Record<string, unknown>> = {},
    readonly retryAfter: number | null = null,
  ) {
    super(detail || title)
  }

  get faults(): Fault[] {
    const { errors } = this.figures
    return Array.isArray(errors) ? (errors as Fault[]) : []
  }

  /** The request may be sent again: the API did not accept it, or it is unknown whether it did. */
  get repeatable(): boolean {
    return this.status === 0 || this.status === 429 || this.status === 503 || this.status === 504
  }

  /** The API does not have this route or option; the page works without it. */
  get unsupported(): boolean {
    return this.status === 404 || this.status === 405 || this.status === 422 || this.status === 501
  }
}

export const unreachable = (cause: unknown): Problem =>
  new Problem(0, 'unreachable', 'The API cannot be reached', cause instanceof Error ? cause.message : String(cause))

/** What to do, by code; the same advice as docs/http.md gives. */
const ADVICE: Record<string, string> = {
  unreachable: 'Is it running? The page tries again by itself.',
  unauthenticated: 'Enter a valid key.',
  quota_exceeded: 'Wait for the next month, or have the limit raised.',
  not_found: 'It was erased, or belongs to another organization.',
  revision_conflict: 'Look at what came first, then decide again.',
  turn_in_progress: 'Wait for the reply, or interrupt it.',
  idempotency_mismatch: 'Send it again as a new message.',
  approval_not_pending: 'It was decided already, or its time is over.',
  superseded: 'The session was rewound meanwhile. Send it again if it still fits.',
  turn_not_pending: 'The reply was over before it could be stopped.',
  session_ended: 'Fork it, or open another session.',
  suite_ended: 'The suite is over; its report stays.',
  too_large: 'Send less.',
  rate_limited: 'The page sends it again after the pause.',
  queue_full: 'Wait for a reply, then send again.',
  internal_error: 'This is a defect; the API’s log has it.',
  model_failed: 'Try again, or edit and send.',
  unavailable: 'Nothing was accepted. It goes on by itself when the service is back.',
  session_stuck: 'Its workflow is stuck; see it in Temporal.',
  wait_timeout: 'The turn goes on.',
}

export const adviceFor = (problem: Problem): string => ADVICE[problem.code] ?? ''

function seconds(header: string | null): number | null {
  if (header === null) return null
  const given = Number(header)
  if (Number.isFinite(given)) return given
  const until = (Date.parse(header) - Date.now()) / 1000
  return Number.isFinite(until) ? Math.max(0, until) : null
}

export async function problemOf(response: Response): Promise<Problem> {
  const retryAfter = seconds(response.headers.get('retry-after'))
  const body = (await response.json().catch(() => null)) as Record<string, unknown> | null
  const text = (name: string): string => (typeof body?.[name] === 'string' ? body[name] : '')
  return new Problem(
    response.status,
    text('code') || `http_${response.status}`,
    text('title') || response.statusText || `The API answered ${response.status}`,
    text('detail'),
    body ?? {},
    retryAfter,
  )
}

export const asProblem = (error: unknown): Problem => (error instanceof Problem ? error : unreachable(error))
