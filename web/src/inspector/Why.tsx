/** Why the agent said this: each model call of the turn with its exact request, what was offered, and what was chosen. */
import { useQuery } from '@tanstack/react-query'
import { useNavigate } from '@tanstack/react-router'
import { ChevronDown, ChevronRight } from 'lucide-react'
import { lazy, Suspense, useMemo, useState } from 'react'
import { curl } from '../api/client.ts'
import { asProblem } from '../api/problems.ts'
import { sessions } from '../api/routes.ts'
import type { Step, StepMessage, Turn } from '../api/types.ts'
import { useCommands } from '../conversation/commands.ts'
import { clientTools, useAgent } from '../sessions/queries.ts'
import { amountOf } from '../timeline/money.ts'
import { children, family } from '../timeline/siblings.ts'
import { knownTurns, useSession } from '../timeline/store.ts'
import { variablesAt } from '../timeline/variables.ts'
import { Button, Dialog, join } from '../ui/controls.tsx'
import { Money } from '../ui/Money.tsx'
import { Json } from '../ui/Json.tsx'
import { Badge, CopyButton, Empty, Loading, ProblemNote } from '../ui/states.tsx'
import { count, duration, plural } from '../words.ts'
import type { TabProps } from './Inspector.tsx'
import { Rendered, Template } from './Prompt.tsx'

const RequestDifference = lazy(() => import('./RequestDifference.tsx'))

/** The steps of a turn; null where the API keeps none. */
const useSteps = (session: string, turn: string | undefined, status: string | undefined) =>
  useQuery({
    queryKey: ['steps', session, turn, status],
    queryFn: ({ signal }) =>
      sessions.steps(session, turn ?? '', { signal }).catch((error: unknown) => (asProblem(error).unsupported ? null : Promise.reject(asProblem(error)))),
    enabled: turn !== undefined && status !== 'pending',
    staleTime: Infinity,
  })

interface Other {
  key: string
  label: string
  session: string
  turn: string
}

/** Turns whose requests can be compared with this one's: its siblings, and its counterpart in the fork's source. */
function useOthers(store: TabProps['store'], turn: Turn | undefined): Other[] {
  const { id } = store.getState()
  const turns = useSession(store, (state) => state.timeline.turns)
  const tree = useSession(store, (state) => state.tree)
  const source = useSession(store, (state) => state.timeline.session?.forked_from)
  const isFirst = source !== null && source !== undefined && turn?.parent_id === source.turn_id
  const there = useQuery({
    queryKey: ['source', source?.session_id, source?.turn_id],
    queryFn: ({ signal }) => sessions.turns(source?.session_id ?? '', { around: source?.turn_id ?? '', limit: 10 }, { signal }),
    enabled: isFirst,
    staleTime: Infinity,
  })
  return useMemo(() => {
    if (!turn) return []
    const { all } = family(children(knownTurns({ timeline: { turns }, tree })), turn)
    const versions = all.flatMap((each, at): Other[] => (each === turn.id ? [] : [{ key: each, label: `version ${at + 1} of this turn`, session: id, turn: each }]))
    const same = there.data?.items.find((each) => each.parent_id === turn.parent_id)
    const origin: Other[] = same && source ? [{ key: 'source', label: 'the session it was forked from', session: source.session_id, turn: same.id }] : []
    return [...origin, ...versions]
  }, [id, turn, turns, tree, source, there.data])
}

export function Why({ store, selection, turn, upTo }: TabProps) {
  const { id } = store.getState()
  const steps = useSteps(id, turn?.id, turn?.status)
  const others = useOthers(store, turn)
  const [against, setAgainst] = useState('')
  const other = others.find((each) => each.key === against)
  const otherSteps = useSteps(other?.session ?? '', other?.turn, undefined)
  if (!turn) return <Empty title="Nothing was said yet" />
  if (turn.status === 'pending') return <Empty title="The reply is under way">What it read is shown when it is over.</Empty>
  if (steps.isPending) return <Loading rows={3} />
  if (steps.isError) return <ProblemNote error={steps.error} retry={() => void steps.refetch()} />
  return (
    <div className="flex flex-col gap-3 p-3">
      {steps.data !== null && (steps.data.items.length > 1 || (others.length > 0 && steps.data.items.length > 0)) && (
        <label className="flex flex-wrap items-center gap-x-2 text-list text-muted">
          Requests against
          <select value={other || against === 'before' ? against : ''} onChange={(event) => setAgainst(event.target.value)} className="field min-w-0 flex-1 text-text">
            <option value="">nothing</option>
            {steps.data.items.length > 1 && <option value="before">the step before</option>}
            {others.map((each) => (
              <option key={each.key} value={each.key}>
                {each.label}
              </option>
            ))}
          </select>
        </label>
      )}
      {steps.data === null ? (
        <FromDefinition store={store} turn={turn} upTo={upTo} />
      ) : steps.data.items.length === 0 ? (
        turn.status === 'failed' ? (
          <Empty title="No reply was received">The model’s call failed: nothing came of it that could be billed. Its error stands in the turn.</Empty>
        ) : (
          <Empty title="No model was asked">{turn.user_message ? 'The turn was closed before a call was made.' : 'This greeting is written in the agent’s definition.'}</Empty>
        )
      ) : (
        steps.data.items.map((step, at) => (
          <StepCard
            key={step.index}
            step={step}
            before={steps.data?.items[at - 1]}
            against={against === 'before' ? steps.data?.items[at - 1] : otherSteps.data?.items[at]}
            open={selection.step === step.index || (selection.step === undefined && steps.data?.items.length === 1)}
            toggle={(open) => selection.go({ step: open ? step.index : undefined }, { replace: true })}
          />
        ))
      )}
      <TryWith store={store} turn={turn} />
      <div className="flex gap-2">
        <CopyButton wide label="Copy as curl" text={curl('GET', '/v1/sessions/{session_id}/turns/{turn_id}/steps', { path: { session_id: id, turn_id: turn.id } })} />
      </div>
    </div>
  )
}

function Section({ title, count: size, children, open: initially = false }: { title: string; count?: number; children: React.ReactNode; open?: boolean }) {
  return (
    <details open={initially} className="group border-t border-line py-1">
      <summary className="target flex items-center gap-1 text-list font-medium">
        <ChevronRight size={14} className="text-muted group-open:rotate-90" />
        {title}
        {size !== undefined && <span className="text-meta font-normal text-muted">{size}</span>}
      </summary>
      <div className="py-1">{children}</div>
    </details>
  )
}

interface StepCardProps {
  step: Step
  before: Step | undefined
  /** The step whose request this one is compared with. */
  against: Step | undefined
  open: boolean
  toggle: (open: boolean) => void
}

function StepCard({ step, before, against, open, toggle }: StepCardProps) {
  const { request, reply } = step
  const chosen = new Set(reply?.tool_calls.map((call) => call.name))
  const known = new Set(before?.request.messages.map((message) => JSON.stringify(message)))
  return (
    <section aria-label={`Step ${step.index + 1}`} className="rounded-sm border border-line">
      <button type="button" aria-expanded={open} onClick={() => toggle(!open)} className="target flex w-full items-start gap-1 rounded-sm px-2 py-1.5 text-left text-list hover:bg-hover">
        {open ? <ChevronDown size={14} className="mt-0.5 shrink-0" /> : <ChevronRight size={14} className="mt-0.5 shrink-0" />}
        <span className="min-w-0 flex-1">
          <span className="flex flex-wrap items-center gap-x-2">
            <span className="font-medium">{step.purpose === 'extraction' ? 'Reads variables' : `Step ${step.index + 1}`}</span>
            <span className="font-mono text-code">{step.model}</span>
            {step.node_id && <span className="text-muted">{step.node_id}</span>}
            <Badge kind={step.fidelity === 'exact' ? 'ok' : 'warn'}>{step.fidelity}</Badge>
            {step.attempts > 1 && <Badge kind="warn">{step.attempts} attempts</Badge>}
          </span>
          <span className="flex flex-wrap gap-x-2 text-meta text-muted">
            {step.first_word_seconds !== null && <span>first word {duration(step.first_word_seconds)}</span>}
            <span>whole {duration(step.seconds)}</span>
            <span>
              {count(step.usage.prompt_tokens)} in, {count(step.usage.cache_read_input_tokens)} cached, {count(step.usage.completion_tokens)} out
            </span>
            <Money amount={amountOf(step.cost)} />
            {step.finish_reason && <span>{step.finish_reason}</span>}
          </span>
          {step.error && <span className="block break-words text-bad">{step.error}</span>}
        </span>
      </button>
      {open && (
        <div className="px-2 pb-2">
          {against && (
            <Section title="Difference" open>
              <Suspense fallback={<Loading rows={2} />}>
                <RequestDifference before={against} after={step} />
              </Suspense>
            </Section>
          )}
          <Section title="Instructions" open>
            <Rendered text={request.instructions} variables={request.variables} />
          </Section>
          <Section title="Messages" count={request.messages.length}>
            <Messages messages={request.messages} isKnown={(message) => known.has(JSON.stringify(message))} fresh={before !== undefined} />
          </Section>
          <Section title="Offered" count={request.tools.length} open={request.tools.length > 0}>
            <ul className="flex flex-col gap-1">
              {request.tools.map((tool) => (
                <li key={tool.name} className={join('rounded-sm px-2 py-1 text-list', chosen.has(tool.name) ? 'bg-accent-tint' : 'bg-sunken')}>
                  <span className="font-mono text-code">{tool.name}</span>
                  {tool.to && <span className="text-muted"> → {tool.to}</span>}
                  {chosen.has(tool.name) && <Badge kind="accent">chosen</Badge>}
                  <span className="block text-muted">{tool.description}</span>
                </li>
              ))}
            </ul>
          </Section>
          <Section title="Settings">
            <Json value={request.settings} name="settings" />
          </Section>
          {reply && (
            <Section title="Reply" open>
              {reply.text && <p className="text-list break-words whitespace-pre-wrap">{reply.text}</p>}
              <Json value={reply.raw ?? reply.tool_calls} name="reply" />
            </Section>
          )}
          <div className="flex items-center gap-2 border-t border-line pt-2">
            <CopyButton wide label="Copy as JSON" text={JSON.stringify(request, null, 2)} />
            {step.digest && <span className="truncate font-mono text-meta text-faint">sha256 {step.digest.slice(0, 16)}…</span>}
          </div>
        </div>
      )}
    </section>
  )
}

/** The newest messages of a long request are shown at first, the others on demand. */
const NEWEST_SHOWN = 6

function Messages({ messages, isKnown, fresh }: { messages: readonly StepMessage[]; isKnown: (message: StepMessage) => boolean; fresh: boolean }) {
  const [all, setAll] = useState(false)
  const firstNew = fresh ? messages.findIndex((message) => !isKnown(message)) : -1
  const from = all || messages.length <= NEWEST_SHOWN ? 0 : Math.max(0, Math.min(messages.length - NEWEST_SHOWN, firstNew === -1 ? Infinity : firstNew))
  return (
    <>
      {from > 0 && (
        <Button look="quiet" onClick={() => setAll(true)}>
          ▸ {plural(from, 'older message')}
        </Button>
      )}
      <ol className="flex flex-col gap-1">
        {messages.slice(from).map((message, at) => (
          <Message key={from + at} message={message} fresh={fresh && !isKnown(message)} />
        ))}
      </ol>
    </>
  )
}

function Message({ message, fresh }: { message: StepMessage; fresh: boolean }) {
  return (
    <li className={join('rounded-sm px-2 py-1 text-list', fresh ? 'bg-live-tint' : 'bg-sunken')}>
      <span className="text-meta text-muted">
        {message.role}
        {fresh && ' · new in this step'}
      </span>
      <p className="break-words whitespace-pre-wrap">{message.content}</p>
      {message.tool_calls?.map((call) => (
        <p key={call.id} className="font-mono text-code break-words">
          {call.name}({JSON.stringify(call.arguments)})
        </p>
      ))}
    </li>
  )
}

/** For an API that keeps no steps: the nodes of the turn as the agent's definition has them, marked as such. */
function FromDefinition({ store, turn, upTo }: { store: TabProps['store']; turn: Turn; upTo: readonly Turn[] }) {
  const session = useSession(store, (state) => state.timeline.session)
  const agent = useAgent(session?.agent_id ?? '', session?.agent_version)
  if (agent.isPending) return <Loading rows={3} />
  if (agent.isError) return <ProblemNote error={agent.error} retry={() => void agent.refetch()} />
  const { definition } = agent.data
  const firstNode = upTo.at(-2)?.node_id ?? definition.start
  const transitions = turn.events.filter((event) => event.type === 'node_transition')
  const passed = [firstNode, ...transitions.map((event) => String(event.payload['to_node']))].filter((each, at, list) => each !== list[at - 1])
  const chosen = new Set(transitions.map((event) => String(event.payload['transition'] ?? '')))
  const values = Object.fromEntries(variablesAt(session?.initial_context ?? {}, upTo).map(({ name, value }) => [name, value]))
  return (
    <>
      <p className="flex items-start gap-2 text-list text-muted">
        <Badge kind="warn">from the definition</Badge>
        <span>This API keeps no requests. This is what the agent’s definition says at this turn.</span>
      </p>
      {Object.entries(turn.usage.llm).map(([model, used]) => (
        <p key={model} className="flex flex-wrap gap-x-2 text-meta text-muted">
          <span className="font-mono text-code text-text">{model}</span>
          <span>{count(used.requests ?? 0)} calls</span>
          <span>
            {count(used.prompt_tokens ?? 0)} in, {count(used.cache_read_input_tokens ?? 0)} cached, {count(used.completion_tokens ?? 0)} out
          </span>
        </p>
      ))}
      {definition.prompt && (
        <Section title="Before every node">
          <Template text={definition.prompt} values={values} />
        </Section>
      )}
      {passed.map((name, at) => {
        const node = definition.nodes[name]
        if (!node) return null
        return (
          <section key={`${name} ${at}`} className="rounded-sm border border-line p-2">
            <h3 className="font-medium">{name}</h3>
            {node.greeting && upTo.length === 1 && <Template text={node.greeting} values={values} />}
            {node.prompt && <Template text={node.prompt} values={values} />}
            {(node.transitions?.length ?? 0) > 0 && (
              <ul className="mt-2 flex flex-col gap-1">
                {node.transitions?.map((transition) => (
                  <li key={transition.name} className={join('rounded-sm px-2 py-1 text-list', chosen.has(transition.name) ? 'bg-accent-tint' : 'bg-sunken')}>
                    <span className="font-mono text-code">{transition.name}</span> <span className="text-muted">→ {transition.to}</span>{' '}
                    {chosen.has(transition.name) && <Badge kind="accent">chosen</Badge>}
                    <span className="block text-muted">when {transition.when}</span>
                  </li>
                ))}
              </ul>
            )}
          </section>
        )
      })}
    </>
  )
}

/** A fork before the turn, with another model, version or words. */
function TryWith({ store, turn }: { store: TabProps['store']; turn: Turn }) {
  const [open, setOpen] = useState(false)
  const session = useSession(store, (state) => state.timeline.session)
  const commands = useCommands(store)
  const navigate = useNavigate()
  const [model, setModel] = useState('')
  const [version, setVersion] = useState('')
  const [text, setText] = useState(turn.user_message?.text ?? '')
  const [busy, setBusy] = useState(false)
  if (!session || !turn.user_message || turn.parent_id === null) return null
  const run = async (): Promise<void> => {
    setBusy(true)
    const made = await commands.fork(turn.parent_id ?? undefined, {
      ...(model && { model }),
      ...(version && { agent: session.agent_id, version: Number(version) }),
      name: `${session.name} #${turn.index} again`,
    })
    if (made) {
      const tools = await clientTools(made)
      await sessions.sendMessage(made.id, { text, message_id: `try-${made.id}`, on_busy: 'enqueue', ...(tools.length > 0 && { client_tools: tools }) })
      void navigate({ to: '/compare', search: { a: `${session.id}@active`, b: `${made.id}@active` } })
    }
    setBusy(false)
  }
  return (
    <>
      <Button onClick={() => setOpen(true)} className="self-start">
        Try this with …
      </Button>
      {open && (
        <Dialog title={`Turn #${turn.index} with …`} onClose={() => setOpen(false)}>
          <p className="text-list text-muted">A fork from before this turn; its past costs nothing again. Both are shown beside each other.</p>
          <label className="mt-3 block text-list text-muted">
            Words
            <textarea value={text} onChange={(event) => setText(event.target.value)} className="field mt-1 w-full" rows={2} />
          </label>
          <label className="mt-2 block text-list text-muted">
            Model
            <input value={model} onChange={(event) => setModel(event.target.value)} placeholder={session.model} className="field mt-1 w-full" />
          </label>
          <label className="mt-2 block text-list text-muted">
            Version of the agent
            <input type="number" min={1} value={version} onChange={(event) => setVersion(event.target.value)} placeholder={String(session.agent_version)} className="field mt-1 w-full" />
          </label>
          <div className="mt-3 flex justify-end">
            <Button look="main" disabled={busy || !text.trim()} onClick={() => void run()}>
              Fork and compare
            </Button>
          </div>
        </Dialog>
      )}
    </>
  )
}
