/** A new agent, or a new version of one, from a file. Faults are shown at their lines; the last valid graph stays. */
import { useMutation } from '@tanstack/react-query'
import { useNavigate } from '@tanstack/react-router'
import { lazy, Suspense, useEffect, useMemo, useState } from 'react'
import { parse } from 'yaml'
import { asProblem, type Problem } from '../api/problems.ts'
import { agents } from '../api/routes.ts'
import type { AgentDefinition } from '../api/types.ts'
import { queries, useAbout } from '../sessions/queries.ts'
import { Button } from '../ui/controls.tsx'
import { Editor } from '../ui/Editor.tsx'
import { Empty, Loading, ProblemNote, useTitle } from '../ui/states.tsx'
import { plural } from '../words.ts'
import { useFaults } from '../ui/useFaults.ts'

const GraphView = lazy(() => import('./GraphView.tsx'))

const EXAMPLE = `name: front-desk
prompt: You answer the telephone of a small hotel.
start: greet
nodes:
  greet:
    greeting: "Good evening {{first_name | and welcome}}."
    prompt: Find out what the caller wants.
    transitions:
      - {name: done, when: the caller says goodbye, to: goodbye}
  goodbye: {prompt: Say goodbye., end: true}
context: {first_name: null}`

/** Recognizes an export of dograh by its form: nodes and edges are lists. */
function kindOf(text: string): { format?: 'dograh'; definition: AgentDefinition | null } {
  try {
    const given = parse(text) as { nodes?: unknown; edges?: unknown; start?: unknown } | null
    if (given && Array.isArray(given.nodes) && Array.isArray(given.edges)) return { format: 'dograh', definition: null }
    const nodes = given?.nodes
    const whole = nodes !== null && typeof nodes === 'object' && !Array.isArray(nodes) && Object.values(nodes).every((node) => node !== null && typeof node === 'object')
    return { definition: whole && typeof given?.start === 'string' ? (given as unknown as AgentDefinition) : null }
  } catch {
    return { definition: null }
  }
}

export function NewAgent() {
  useTitle('Upload an agent')
  const navigate = useNavigate()
  const about = useAbout()
  const [text, setText] = useState('')
  const [name, setName] = useState('')
  const [good, setGood] = useState<AgentDefinition | null>(null)
  const [checked, setChecked] = useState<{ problem: Problem | null; words: string }>({ problem: null, words: '' })
  const kind = useMemo(() => kindOf(text), [text])
  const query = kind.format ? { format: kind.format, name } : {}

  useEffect(() => {
    const nodes = kind.definition?.nodes
    // A graph with a transition to an unknown node is not drawn: the one before stays.
    if (kind.definition && nodes && Object.values(nodes).every((node) => (node.transitions ?? []).every((each) => each.to in nodes))) setGood(kind.definition)
  }, [kind])

  const store = useMutation({
    mutationFn: () => agents.store(text, 'application/yaml', query),
    onSuccess: (agent) => {
      void queries.invalidateQueries({ queryKey: ['agents'] })
      void queries.invalidateQueries({ queryKey: ['agent', agent.name] })
      void navigate({ to: '/agents/$name', params: { name: agent.name }, search: agent.version > 1 ? { version: agent.version, against: agent.version - 1 } : {} })
    },
  })
  const problem = useMemo(() => (store.error ? asProblem(store.error) : checked.problem), [store.error, checked.problem])
  const apiFaults = useMemo(() => problem?.faults, [problem])
  const { faults, broken } = useFaults(text, apiFaults)

  useEffect(() => {
    setChecked({ problem: null, words: '' })
    if (!about.data || !text.trim() || broken || (kind.format && !name)) return
    const stop = new AbortController()
    const timer = setTimeout(() => {
      agents.dryRun(text, 'application/yaml', query, { signal: stop.signal }).then(
        (preview) =>
          setChecked({
            problem: null,
            words: `${preview.changed ? `Makes version ${preview.version} of ${preview.name}` : `The same as version ${preview.version} of ${preview.name}`}${preview.warnings.length > 0 ? ` · ${plural(preview.warnings.length, 'warning')}` : ''}`,
          }),
        (error: unknown) => !stop.signal.aborted && setChecked({ problem: asProblem(error), words: '' }),
      )
    }, 400)
    return () => {
      clearTimeout(timer)
      stop.abort()
    }
  }, [text, name, about.data, broken]) // eslint-disable-line

  return (
    <main id="main" className="flex min-h-0 flex-1 max-md:flex-col max-md:overflow-auto">
      <form
        className="flex min-w-0 flex-col gap-3 p-4 md:min-h-0 md:flex-1"
        onSubmit={(event) => {
          event.preventDefault()
          store.mutate()
        }}
      >
        <h1 className="text-title font-semibold">Upload an agent</h1>
        <Editor
          label="The agent’s definition"
          value={text}
          onChange={(next) => {
            setText(next)
            store.reset()
          }}
          faults={faults}
          placeholder={EXAMPLE}
        />
        {kind.format && (
          <label className="text-list text-muted">
            This is an export of dograh. Its name here
            <input required value={name} onChange={(event) => setName(event.target.value)} className="field mt-1 w-full text-text" />
          </label>
        )}
        {problem && problem.faults.length === 0 && <ProblemNote error={problem} className="mx-0" />}
        <div className="flex items-center justify-end gap-3">
          <span role="status" className="text-list text-muted">
            {checked.words}
          </span>
          <Button type="submit" look="main" className="px-4 py-1.5" disabled={!text.trim() || store.isPending}>
            Store it
          </Button>
        </div>
      </form>
      <section aria-label="Graph" className="min-h-80 min-w-0 shrink-0 bg-canvas md:flex-1 md:border-l md:border-line">
        {good ? (
          <Suspense fallback={<Loading rows={1} height={300} />}>
            <GraphView definition={good} open={() => undefined} />
          </Suspense>
        ) : (
          <Empty title="The graph is drawn here">As soon as the definition has nodes that lead to each other.</Empty>
        )}
      </section>
    </main>
  )
}
