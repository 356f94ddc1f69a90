/** A new session: agent, version, and a field for each variable that the agent's context names. */
import { useMutation } from '@tanstack/react-query'
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router'
import { useMemo, useState, type FormEvent } from 'react'
import { asProblem, Problem } from '../api/problems.ts'
import { sessions } from '../api/routes.ts'
import type { Json, JsonObject, NewSession as Body } from '../api/types.ts'
import { queries, useAgent, useAgents } from './queries.ts'
import { Button } from '../ui/controls.tsx'
import { Empty, Loading, ProblemNote, useTitle } from '../ui/states.tsx'

const route = getRouteApi('/sessions/new')
const storedKey = (agent: string): string => `playhead.context.${agent}`

function stored(agent: string): Record<string, string> {
  try {
    return JSON.parse(localStorage.getItem(storedKey(agent)) ?? '{}') as Record<string, string>
  } catch {
    return {}
  }
}

/** The text of a field as a value of the type that the default has; an empty field is the default. */
export function valueOf(text: string, fallback: Json): Json | undefined {
  if (text === '') return undefined
  if (typeof fallback === 'number') return Number.isFinite(Number(text)) ? Number(text) : text
  if (typeof fallback === 'boolean') return text === 'true'
  if (fallback !== null && typeof fallback === 'object') return JSON.parse(text) as Json
  return text
}

export function NewSession() {
  useTitle('New session')
  const search = route.useSearch()
  const navigate = useNavigate()
  const agents = useAgents()
  const newest = agents.data?.items.at(-1)?.name ?? ''
  const name = search.agent ?? newest
  const agent = useAgent(name, search.version)
  if (agents.isPending) return <Loading rows={5} />
  if (agents.isError) return <ProblemNote error={agents.error} retry={() => void agents.refetch()} />
  if (agents.data.items.length === 0)
    return (
      <Empty title="There is no agent yet">
        <p>An agent is a graph of prompts, written in YAML.</p>
        <Link to="/agents/new" className="mt-3 inline-block text-accent underline">
          Upload one
        </Link>
      </Empty>
    )
  const context = (agent.data?.definition.context ?? {}) as JsonObject
  const given = Object.fromEntries(
    Object.entries(search as Record<string, unknown>).flatMap(([key, value]) => (key.startsWith('ctx.') ? [[key.slice(4), String(value)]] : [])),
  )
  return (
    <div className="min-h-0 flex-1 overflow-auto">
      <div className="mx-auto w-full max-w-xl p-4 sm:p-8">
        <h1 className="mb-4 text-title font-semibold">New session</h1>
        <div className="grid grid-cols-[1fr_120px] gap-3">
          <label className="text-list text-muted">
            Agent
            <select
              value={name}
              onChange={(event) => void navigate({ to: '/sessions/new', search: { agent: event.target.value }, replace: true })}
              className="field mt-1 w-full text-text"
            >
              {agents.data.items.map((each) => (
                <option key={each.id}>{each.name}</option>
              ))}
            </select>
          </label>
          <label className="text-list text-muted">
            Version
            <input
              type="number"
              min={1}
              value={search.version ?? ''}
              placeholder={String(agents.data.items.find((each) => each.name === name)?.version ?? '')}
              onChange={(event) =>
                void navigate({ to: '/sessions/new', search: (before) => ({ ...before, version: event.target.value ? Number(event.target.value) : undefined }), replace: true })
              }
              className="field mt-1 w-full text-text"
            />
          </label>
        </div>
        {agent.isError ? (
          <ProblemNote error={agent.error} />
        ) : agent.isPending ? (
          <Loading rows={2} />
        ) : (
          <Form key={`${name} ${search.version ?? ''}`} agent={name} version={search.version} context={context} given={given} />
        )}
      </div>
    </div>
  )
}

interface FormProps {
  agent: string
  version: number | undefined
  context: JsonObject
  given: Record<string, string>
}

const LIMITS = ['max_turns', 'max_cost_usd', 'inactivity_seconds', 'deadline_seconds', 'max_steps_per_turn'] as const
const LIMIT_WORDS: Record<(typeof LIMITS)[number], string> = {
  max_turns: 'Most turns',
  max_cost_usd: 'Most dollars',
  inactivity_seconds: 'Seconds of silence',
  deadline_seconds: 'Seconds in all',
  max_steps_per_turn: 'Model calls a turn',
}

function Form({ agent, version, context, given }: FormProps) {
  const navigate = useNavigate()
  const names = Object.keys(context)
  const beyond = Object.fromEntries(Object.entries(given).filter(([key]) => !names.includes(key)))
  const [values, setValues] = useState<Record<string, string>>(() => ({ ...stored(agent), ...given }))
  const [rest, setRest] = useState(Object.keys(beyond).length > 0 ? JSON.stringify(beyond, null, 2) : '')
  const [title, setTitle] = useState('')
  const [limits, setLimits] = useState<Record<string, string>>({})
  const [simulated, setSimulated] = useState(false)
  const [goal, setGoal] = useState('')
  const [facts, setFacts] = useState('')
  const set = (name: string, value: string): void => setValues((before) => ({ ...before, [name]: value }))

  const body = useMemo(() => {
    try {
      const known = Object.fromEntries(
        names.flatMap((name) => {
          const value = valueOf(values[name] ?? '', context[name] ?? null)
          return value === undefined ? [] : [[name, value]]
        }),
      )
      const more = rest.trim() ? (JSON.parse(rest) as JsonObject) : {}
      const bounds = Object.fromEntries(
        Object.entries(limits).flatMap(([key, value]) => (value ? [[key, key === 'max_cost_usd' ? value : Number(value)]] : [])),
      )
      return {
        agent: version === undefined ? agent : { id: agent, version },
        ...(title.trim() && { name: title.trim() }),
        initial_context: { ...known, ...more },
        ...(Object.keys(bounds).length > 0 && { limits: bounds }),
        ...(simulated && { simulator: { enabled: true, config: { goal, facts: facts.trim() ? (JSON.parse(facts) as JsonObject) : {} } } }),
      } as Body
    } catch (error) {
      return new Problem(0, 'invalid_json', 'This is no valid JSON', error instanceof Error ? error.message : '')
    }
  }, [agent, version, values, rest, title, limits, simulated, goal, facts]) // eslint-disable-line

  const open = useMutation({
    mutationFn: () => (body instanceof Problem ? Promise.reject(body) : sessions.open(body)),
    onSuccess: (session) => {
      localStorage.setItem(storedKey(agent), JSON.stringify(Object.fromEntries(names.map((name) => [name, values[name] ?? '']))))
      void queries.invalidateQueries({ queryKey: ['sessions'] })
      void navigate({ to: '/sessions/$id', params: { id: session.id }, search: {} })
    },
  })
  const submit = (event: FormEvent): void => {
    event.preventDefault()
    open.mutate()
  }
  return (
    <form onSubmit={submit} className="mt-4 flex flex-col gap-3">
      {names.length > 0 && (
        <fieldset className="flex flex-col gap-2">
          <legend className="mb-1 text-list font-medium">What the agent knows from the start</legend>
          {names.map((name) => {
            const fallback = context[name] ?? null
            return (
              <label key={name} className="text-list text-muted">
                <span className="font-mono text-code">{name}</span>
                {typeof fallback === 'boolean' ? (
                  <select value={values[name] ?? ''} onChange={(event) => set(name, event.target.value)} className="field mt-1 w-full text-text">
                    <option value="">{String(fallback)} (default)</option>
                    <option>true</option>
                    <option>false</option>
                  </select>
                ) : (
                  <input
                    type={typeof fallback === 'number' ? 'number' : 'text'}
                    step="any"
                    value={values[name] ?? ''}
                    placeholder={fallback === null ? 'not known' : typeof fallback === 'string' ? fallback : JSON.stringify(fallback)}
                    onChange={(event) => set(name, event.target.value)}
                    className="field mt-1 w-full text-text"
                  />
                )}
              </label>
            )
          })}
        </fieldset>
      )}
      <details open={rest !== ''}>
        <summary className="target text-list text-muted">More: name, other variables, limits</summary>
        <div className="flex flex-col gap-2 pt-1">
          <label className="text-list text-muted">
            Name
            <input value={title} onChange={(event) => setTitle(event.target.value)} placeholder="made up" className="field mt-1 w-full text-text" />
          </label>
          <label className="text-list text-muted">
            Other variables, as JSON
            <textarea value={rest} onChange={(event) => setRest(event.target.value)} rows={3} placeholder="{}" className="field mt-1 w-full font-mono text-code text-text" />
          </label>
          <div className="grid grid-cols-2 gap-2">
            {LIMITS.map((name) => (
              <label key={name} className="text-list text-muted">
                {LIMIT_WORDS[name]}
                <input
                  inputMode="decimal"
                  value={limits[name] ?? ''}
                  onChange={(event) => setLimits((before) => ({ ...before, [name]: event.target.value }))}
                  placeholder="as the agent says"
                  className="field mt-1 w-full text-text"
                />
              </label>
            ))}
          </div>
        </div>
      </details>
      <label className="target flex items-center gap-2 text-list">
        <input type="checkbox" checked={simulated} onChange={(event) => setSimulated(event.target.checked)} />A simulated user speaks
      </label>
      {simulated && (
        <div className="flex flex-col gap-2">
          <label className="text-list text-muted">
            What the simulated user wants
            <textarea required value={goal} onChange={(event) => setGoal(event.target.value)} rows={2} placeholder="Book a table for dinner." className="field mt-1 w-full text-text" />
          </label>
          <label className="text-list text-muted">
            What it knows, as JSON
            <textarea value={facts} onChange={(event) => setFacts(event.target.value)} rows={2} placeholder='{"date": "Friday", "party size": 4}' className="field mt-1 w-full font-mono text-code text-text" />
          </label>
        </div>
      )}
      {open.isError && <ProblemNote error={asProblem(open.error)} className="mx-0" />}
      <div className="flex justify-end">
        <Button type="submit" look="main" disabled={open.isPending} className="px-4 py-1.5">
          {open.isPending ? 'Opening' : 'Start'}
        </Button>
      </div>
    </form>
  )
}
