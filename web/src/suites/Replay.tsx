/** Replays a run that did not pass, several times, by default from just before the first quoted turn. */
import { useMutation } from '@tanstack/react-query'
import { useNavigate } from '@tanstack/react-router'
import { lazy, Suspense, useState } from 'react'
import { suites } from '../api/routes.ts'
import type { NewSuite, Suite, SuiteDefinition, SuiteRun, Turn } from '../api/types.ts'
import { useAgent } from '../sessions/queries.ts'
import { dollars, parse } from '../timeline/money.ts'
import { pathTo } from '../timeline/reduce.ts'
import { Button, Dialog } from '../ui/controls.tsx'
import { Loading, ProblemNote } from '../ui/states.tsx'
import { quotedTurns } from './runs.ts'

const VersionDifference = lazy(() => import('../agents/Difference.tsx'))

/** The turn before the first quoted one; null for the start. */
export function replayPoint(run: SuiteRun, turns: ReadonlyMap<string, Turn>): Turn | null {
  const quoted = quotedTurns(run).flatMap((id) => turns.get(id) ?? [])
  const first = quoted.sort((a, b) => a.index - b.index)[0]
  return first?.parent_id ? (turns.get(first.parent_id) ?? null) : null
}

interface ReplayProps {
  suite: Suite
  run: SuiteRun
  definition: SuiteDefinition | null
  turns: ReadonlyMap<string, Turn>
  close: () => void
}

export function Replay({ suite, run, definition, turns, close }: ReplayProps) {
  const navigate = useNavigate()
  const session = run.session_id ?? ''
  const agent = useAgent(suite.agent_name)
  const leaf = [...turns.values()].reduce<Turn | null>((last, turn) => (last === null || turn.index > last.index ? turn : last), null)
  const path = pathTo(turns, leaf?.id ?? null).flatMap((id) => turns.get(id) ?? [])
  const [from, setFrom] = useState<string>(replayPoint(run, turns)?.id ?? '')
  const [version, setVersion] = useState('')
  const [model, setModel] = useState('')
  const [repeats, setRepeats] = useState(5)
  const [budget, setBudget] = useState('')
  const scenario = definition?.scenarios.find((each) => each.id === run.scenario)
  const newest = agent.data?.version ?? suite.agent_version
  const chosen = version ? Number(version) : newest
  const rest = path.length > 0 ? (path.length - (turns.get(from)?.index ?? -1) - 1) / path.length : 1
  const each = (parse(run.cost.total) * BigInt(Math.round(Math.max(0.1, rest) * 1000))) / 1000n

  const start = useMutation({
    mutationFn: () => {
      if (!scenario) throw new Error('the scenario is not known')
      const { opening, repeats: _, tags: __, ...same } = scenario
      const body: NewSuite = {
        name: `${suite.name}: ${run.scenario} again`,
        agent: `${suite.agent_name}@${chosen}`,
        ...(model ? { model } : definition?.model ? { model: definition.model } : {}),
        ...(definition?.caller_model && { caller_model: definition.caller_model }),
        ...(definition?.judge_model && { judge_model: definition.judge_model }),
        repeats,
        concurrency: Math.min(repeats, 5),
        seed: suite.seed,
        ...(budget && { budget_usd: budget }),
        scenarios: [from ? { ...same, history: { session, turn: from } } : { ...same, ...(opening && { opening }) }],
      }
      return suites.start(JSON.stringify(body), 'application/json', {}, `replay-${crypto.randomUUID?.() ?? Date.now()}`)
    },
    onSuccess: (made) => void navigate({ to: '/compare', search: { a: `${session}@active`, suite: made.id, was: run.outcome ?? undefined } }),
  })

  return (
    <Dialog title="Replay from here" onClose={close} wide>
      {!scenario ? (
        <p className="text-muted">
          This API does not return the suite’s file, which a replay needs. In the terminal it is{' '}
          <code className="font-mono text-code">
            playhead simulate fork {suite.id} {run.scenario} --repeat {run.repeat}
          </code>
          .
        </p>
      ) : (
        <form
          className="flex flex-col gap-3"
          onSubmit={(event) => {
            event.preventDefault()
            start.mutate()
          }}
        >
          <label className="text-list text-muted">
            From
            <select value={from} onChange={(event) => setFrom(event.target.value)} className="field mt-1 w-full text-text">
              <option value="">the start</option>
              {path.map((turn) => (
                <option key={turn.id} value={turn.id}>
                  after #{turn.index} {(turn.assistant_message?.text ?? '').slice(0, 70)}
                </option>
              ))}
            </select>
          </label>
          <div className="grid gap-3 sm:grid-cols-4">
            <label className="text-list text-muted">
              Version
              <input type="number" min={1} max={newest} value={version} placeholder={`${newest}, the newest`} onChange={(event) => setVersion(event.target.value)} className="field mt-1 w-full text-text" />
            </label>
            <label className="text-list text-muted">
              Model
              <input value={model} placeholder={definition?.model ?? 'as before'} onChange={(event) => setModel(event.target.value)} className="field mt-1 w-full text-text" />
            </label>
            <label className="text-list text-muted">
              Repeats
              <input type="number" min={1} max={20} value={repeats} onChange={(event) => setRepeats(Math.min(20, Math.max(1, Number(event.target.value))))} className="field mt-1 w-full text-text" />
            </label>
            <label className="text-list text-muted">
              Budget in dollars
              <input inputMode="decimal" value={budget} placeholder="none" onChange={(event) => setBudget(event.target.value)} className="field mt-1 w-full text-text" />
            </label>
          </div>
          <p className="text-list text-muted">
            By what this run cost, about <span className="text-money">{dollars(each * BigInt(repeats))}</span>. What came before costs nothing again.
          </p>
          {chosen !== suite.agent_version && (
            <details>
              <summary className="target text-list text-muted">
                What version {chosen} changed since version {suite.agent_version}
              </summary>
              <Suspense fallback={<Loading rows={2} />}>
                <VersionDifference name={suite.agent_name} from={suite.agent_version} to={chosen} />
              </Suspense>
            </details>
          )}
          {start.isError && <ProblemNote error={start.error} className="mx-0" />}
          <div className="flex justify-end gap-2">
            <Button onClick={close}>Cancel</Button>
            <Button type="submit" look="main" disabled={start.isPending}>
              Replay {repeats} times
            </Button>
          </div>
        </form>
      )}
    </Dialog>
  )
}
