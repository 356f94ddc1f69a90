/** Banners around the turns: approvals, client tools, a rewind, a branch on view, a conflict, a lost connection. */
import { useEffect, useState } from 'react'
import { Link } from '@tanstack/react-router'
import type { Approval, ClientCall, Json as JsonValue } from '../api/types.ts'
import { useSession, type SessionStore } from '../timeline/store.ts'
import { add, amountOf, NOTHING } from '../timeline/money.ts'
import { Button } from '../ui/controls.tsx'
import { Money } from '../ui/Money.tsx'
import { Json } from '../ui/Json.tsx'
import { Clock, CopyButton, useNow } from '../ui/states.tsx'
import { adviceFor } from '../api/problems.ts'
import { warn } from '../ui/announce.tsx'
import { clock, duration, plural } from '../words.ts'
import { useConflict, type Commands } from './commands.ts'
import type { View } from './view.ts'

export function Approvals({ store, commands }: { store: SessionStore; commands: Commands }) {
  const approvals = useSession(store, (state) => state.timeline.session?.approvals)
  return approvals?.map((approval) => <ApprovalCard key={approval.call_id} approval={approval} commands={commands} />)
}

function ApprovalCard({ approval, commands }: { approval: Approval; commands: Commands }) {
  const [reason, setReason] = useState('')
  const [denying, setDenying] = useState(false)
  const now = useNow(1_000)
  const left = (Date.parse(approval.expires_at) - now) / 1000
  useEffect(() => warn(`The agent asks to use ${approval.tool}.`), [approval.tool])
  return (
    <section aria-label={`Approval of ${approval.tool}`} className="mx-auto my-2 w-[min(72ch,calc(100%-24px))] rounded-lg border border-warn bg-warn-tint p-3 text-list">
      <div className="flex items-center gap-2">
        <h2 className="flex-1 font-semibold">
          May the agent use <code className="font-mono text-code">{approval.tool}</code>?
        </h2>
        <span className="text-meta text-muted">{left > 0 ? `${duration(left)} left` : 'its time is over'}</span>
      </div>
      {approval.reason && <p className="mb-2">{approval.reason}</p>}
      <Json value={approval.arguments} name={approval.tool} />
      {denying && (
        <input
          autoFocus
          value={reason}
          onChange={(event) => setReason(event.target.value)}
          aria-label="Reason for the agent"
          placeholder="Reason for the agent"
          className="field mt-2 w-full"
        />
      )}
      <div className="mt-2 flex gap-2">
        <Button look="main" onClick={() => void commands.decide(approval.call_id, 'approve')}>
          Allow
        </Button>
        {denying ? (
          <Button look="danger" onClick={() => void commands.decide(approval.call_id, 'deny', reason)}>
            Deny
          </Button>
        ) : (
          <Button onClick={() => setDenying(true)}>Deny …</Button>
        )}
      </div>
    </section>
  )
}

export function ClientCalls({ store, commands }: { store: SessionStore; commands: Commands }) {
  const calls = useSession(store, (state) => state.timeline.session?.client_calls)
  return calls?.map((call) => <ClientCallCard key={call.call_id} call={call} commands={commands} />)
}

/** The result that a text stands for: parsed if it is JSON, else the text itself. */
function resultOf(text: string): JsonValue {
  try {
    return JSON.parse(text) as JsonValue
  } catch {
    return text
  }
}

/** A call of a client tool. Here a person acts as the client and enters the result. */
function ClientCallCard({ call, commands }: { call: ClientCall; commands: Commands }) {
  const [text, setText] = useState('')
  const [sending, setSending] = useState(false)
  const now = useNow(1_000)
  const left = (Date.parse(call.expires_at) - now) / 1000
  useEffect(() => warn(`The agent waits for the result of ${call.tool}.`), [call.tool])
  const give = (failed: boolean): void => {
    setSending(true)
    void commands.returnResult(call.call_id, failed ? text : resultOf(text), failed).finally(() => setSending(false))
  }
  return (
    <section aria-label={`Result of ${call.tool}`} className="mx-auto my-2 w-[min(72ch,calc(100%-24px))] rounded-lg border border-live bg-live-tint p-3 text-list">
      <div className="flex items-center gap-2">
        <h2 className="flex-1 font-semibold">
          The client carries out <code className="font-mono text-code">{call.tool}</code>: what came of it?
        </h2>
        <span className="text-meta text-muted">{left > 0 ? `${duration(left)} left` : 'its time is over'}</span>
      </div>
      <p className="mb-2 text-muted">You stand in for the client. The reply goes on with this result.</p>
      <Json value={call.arguments} name={call.tool} />
      <form
        onSubmit={(event) => {
          event.preventDefault()
          give(false)
        }}
      >
        <label className="mt-2 block text-muted">
          Result
          <textarea rows={2} value={text} onChange={(event) => setText(event.target.value)} placeholder="Words or JSON" className="field mt-1 w-full text-text" />
        </label>
        <div className="mt-2 flex gap-2">
          <Button type="submit" look="main" disabled={!text.trim() || sending}>
            Return it
          </Button>
          <Button look="danger" disabled={!text.trim() || sending} onClick={() => give(true)}>
            It failed
          </Button>
        </div>
      </form>
    </section>
  )
}

/** The turns that a rewind hides, as one bar with their cost, which a rewind does not refund. */
export function RewoundBar({ store, commands, show }: { store: SessionStore; commands: Commands; show: () => void }) {
  const timeline = useSession(store, (state) => state.timeline)
  const turns = timeline.hidden.flatMap((id) => timeline.turns.get(id) ?? [])
  const cost = add(NOTHING, ...turns.map((turn) => amountOf(turn.cost)))
  const pending = turns.some((turn) => turn.status === 'pending')
  useEffect(() => {
    if (!timeline.hiddenKnown) void store.actions.readLog()
  }, [store, timeline.hiddenKnown])
  return (
    <div className="mx-auto my-1 flex w-[min(72ch,calc(100%-24px))] flex-wrap items-center gap-x-2 rounded-sm border border-dashed border-control bg-sunken px-3 py-1 text-list">
      <span className="flex-1">
        {timeline.hiddenKnown || turns.length > 0 ? (
          <>
            {plural(turns.length, 'turn')} kept out of sight{' '}
            <span className="whitespace-nowrap">
              · <Money amount={cost} />
            </span>{' '}
            spent, stays spent
          </>
        ) : (
          'Later turns are kept out of sight'
        )}
        {pending && ' · the reply goes on, is billed and not shown'}
      </span>
      {!timeline.ended && <Button onClick={() => void commands.rewind(null)}>Undo</Button>}
      {turns.length > 0 && <Button onClick={show}>Show</Button>}
    </div>
  )
}

export function BranchBanner({
  view,
  store,
  commands,
  leave,
  fork,
}: {
  view: View
  store: SessionStore
  commands: Commands
  leave: () => void
  fork: () => void
}) {
  const timeline = useSession(store, (state) => state.timeline)
  const { id } = store.getState()
  const own = view.mode === 'hidden' ? timeline.hidden : view.path.filter((turn) => !timeline.visible.includes(turn))
  const cost = add(NOTHING, ...own.flatMap((turn) => timeline.turns.get(turn) ?? []).map((turn) => amountOf(turn.cost)))
  const branch = view.branch
  return (
    <div role="status" className="flex min-h-13 flex-wrap items-center gap-x-2 gap-y-1 border-t border-line bg-live-tint px-4 py-1.5 text-list">
      <span className="flex-1">
        <strong className="font-semibold text-live">{view.mode === 'hidden' ? 'Out of sight' : 'Discarded'}</strong>{' '}
        {branch && <Clock at={branch.at} short />} <span className="whitespace-nowrap">· {plural(own.length, 'turn')}</span>{' '}
        <span className="whitespace-nowrap">
          · <Money amount={cost} />
        </span>
      </span>
      {!timeline.ended && view.mode === 'hidden' && <Button onClick={() => void commands.rewind(null).then((done) => done && leave())}>Undo the rewind</Button>}
      {!timeline.ended && branch && (
        <Button onClick={() => void commands.restore(branch.id).then((done) => done && leave())}>Make active</Button>
      )}
      {branch && (
        <Link
          to="/compare"
          search={{ a: `${id}@${branch.id}`, b: `${id}@active` }}
          className="target inline-flex items-center rounded-sm border border-control bg-surface px-2 hover:bg-hover"
        >
          Compare with active
        </Link>
      )}
      <Button onClick={fork}>Fork</Button>
      {branch && <CopyButton label="Copy a link to this branch" text={window.location.href} />}
      <Button look="quiet" onClick={leave}>
        Back to active
      </Button>
    </div>
  )
}

export function ConflictBanner({ session }: { session: string }) {
  const conflict = useConflict((state) => state.conflict)
  if (!conflict || conflict.session !== session) return null
  return (
    <div role="alert" className="flex flex-wrap items-center gap-2 border-b border-line bg-warn-tint px-4 py-1.5 text-list">
      <span className="flex-1">
        <strong className="font-semibold text-warn">{plural(conflict.changes, 'change')} came first.</strong> What you see is up to date.
      </span>
      <Button onClick={conflict.again}>{conflict.words} all the same</Button>
      <Button look="quiet" onClick={() => useConflict.setState({ conflict: null })}>
        Leave it
      </Button>
    </div>
  )
}

/** Data that is older than this when it is read is shown with its time. */
const STALE_MS = 5_000

/** The connection: shown after three seconds without one, after a reconnect, with stale data, and while polling. */
export function LinkBar({ store }: { store: SessionStore }) {
  const link = useSession(store, (state) => state.link)
  const missed = useSession(store, (state) => state.missed)
  const asOf = useSession(store, (state) => state.timeline.session?.as_of)
  const readAt = useSession(store, (state) => state.readAt)
  const ended = useSession(store, (state) => state.timeline.ended)
  const now = useNow(1_000)
  useEffect(() => {
    if (missed === null) return
    const timer = setTimeout(() => store.actions.forgetMissed(), 4_000)
    return () => clearTimeout(timer)
  }, [store, missed])
  if (link.kind === 'lost' && now - link.since >= 3_000) {
    return (
      <div role="status" className="flex flex-wrap items-center gap-2 border-b border-line bg-bad-tint px-4 py-1 text-list">
        <span className="flex-1">
          <strong className="font-semibold text-bad">Connection lost {clock(link.since)}</strong> · trying again{' '}
          {link.nextTry > now ? `in ${Math.ceil((link.nextTry - now) / 1000)} s` : 'now'}
          {link.problem.status !== 0 && ` · ${link.problem.title}. ${adviceFor(link.problem)}`}
          {asOf && now - Date.parse(asOf) > 5_000 && ` · as of ${clock(asOf)}`}
        </span>
        <Button onClick={() => store.actions.retry()}>Now</Button>
      </div>
    )
  }
  if (missed !== null) {
    return (
      <div role="status" className="border-b border-line bg-ok-tint px-4 py-1 text-list text-ok">
        back · {missed === 0 ? 'nothing missed' : `${plural(missed, 'event')} missed, all here`}
      </div>
    )
  }
  if (!ended && asOf && readAt - Date.parse(asOf) > STALE_MS) {
    return (
      <div role="status" className="border-b border-line bg-warn-tint px-4 py-1 text-list">
        <strong className="font-semibold text-warn">As of {clock(asOf)}</strong> · the conversation itself cannot be read at the moment; this is what is recorded.
      </div>
    )
  }
  if (link.kind === 'polling') {
    return (
      <div role="status" className="border-b border-line bg-sunken px-4 py-1 text-meta text-muted">
        Many tabs are open: this one asks every 2 s.
      </div>
    )
  }
  return null
}
