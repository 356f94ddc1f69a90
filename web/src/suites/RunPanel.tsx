/** One run beside the wall: verdict with its quotes, the simulated user's goal, the conversation, and its replay. */
import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { ChevronDown, ChevronUp, X } from 'lucide-react'
import { useEffect, useMemo, useRef, useState } from 'react'
import { asProblem } from '../api/problems.ts'
import { all, suites, usage } from '../api/routes.ts'
import type { Suite, SuiteRun } from '../api/types.ts'
import { Strip } from '../conversation/Strip.tsx'
import { Transcript } from '../conversation/Transcript.tsx'
import { add, amountOf, NOTHING, placesOf } from '../timeline/money.ts'
import { quotedWords } from '../timeline/quotes.ts'
import { useSession, useSessionStore } from '../timeline/store.ts'
import { Button, IconButton } from '../ui/controls.tsx'
import { Money } from '../ui/Money.tsx'
import { Json } from '../ui/Json.tsx'
import { Badge, CopyButton, StatusShape } from '../ui/states.tsx'
import { duration, plural, reason, SESSION_PURPOSES, STATUS } from '../words.ts'
import { Replay } from './Replay.tsx'
import { quotedTurns } from './runs.ts'

export const useDefinition = (id: string) =>
  useQuery({
    queryKey: ['definition', id],
    queryFn: ({ signal }) => suites.definition(id, { signal }).catch((error: unknown) => (asProblem(error).unsupported ? null : Promise.reject(asProblem(error)))),
    staleTime: Infinity,
  })

const NO_TURNS: ReadonlySet<string> = new Set()

interface RunPanelProps {
  suite: Suite
  run: SuiteRun
  turn: string | undefined
  select: (turn: string) => void
  close: () => void
  walk: (step: number) => void
}

export function RunPanel({ suite, run, turn, select, close, walk }: RunPanelProps) {
  const id = run.session_id ?? ''
  const store = useSessionStore(id)
  const turns = useSession(store, (state) => state.timeline.turns)
  const path = useSession(store, (state) => state.timeline.visible)
  const definition = useDefinition(suite.id)
  const scenario = definition.data?.scenarios.find((each) => each.id === run.scenario)
  const quoted = useMemo(() => new Set(quotedTurns(run)), [run])
  const quotes = useMemo(() => quotedWords(run), [run])
  const [replaying, setReplaying] = useState(false)
  const body = useRef<HTMLDivElement>(null)
  const ledger = useQuery({
    queryKey: ['ledger', id, run.outcome],
    queryFn: ({ signal }) => all((cursor) => usage.ledger({ session: id, limit: 200, cursor }, { signal })),
  })
  const costs = (['turn', 'extraction', 'caller', 'judge', 'summary'] as const).map((purpose) => ({
    purpose,
    amount: add(NOTHING, ...(ledger.data ?? []).filter((row) => row.purpose === purpose).map((row) => amountOf(row.cost))),
  }))
  const places = placesOf(costs.map((each) => each.amount.value))

  const known = turns.size > 0
  useEffect(() => {
    if (!turn || !known) return
    body.current?.querySelector(`[data-turn="${turn}"]`)?.scrollIntoView({ block: 'center' })
  }, [turn, known])

  const link = (each: string) => (
    <button key={each} type="button" className="min-h-6 rounded-sm px-1.5 text-accent underline hover:bg-hover" onClick={() => select(each)}>
      #{turns.get(each)?.index ?? '…'}
    </button>
  )
  return (
    <aside aria-label={`Run ${run.repeat} of ${run.scenario}`} className="flex min-h-0 w-full flex-col border-l border-line bg-surface md:w-[480px]">
      <header className="flex min-h-11 shrink-0 flex-wrap items-center gap-x-2 border-b border-line px-3">
        <StatusShape status={run.outcome ?? run.state} />
        <h2 className="min-w-0 flex-1 truncate font-semibold max-sm:basis-[calc(100%-24px)] max-sm:pt-2">
          {run.scenario} #{run.repeat}
        </h2>
        <IconButton label="Run before (k)" onClick={() => walk(-1)}>
          <ChevronUp size={16} />
        </IconButton>
        <IconButton label="Next run (j)" onClick={() => walk(1)}>
          <ChevronDown size={16} />
        </IconButton>
        <Link
          to="/sessions/$id"
          params={{ id }}
          search={quoted.size > 0 ? { quoted: [...quoted].join(',') } : {}}
          className="target inline-flex items-center rounded-sm border border-control px-2 text-list hover:bg-hover"
        >
          Full page
        </Link>
        <CopyButton label="Copy a link to this run" text={window.location.href} />
        <IconButton label="Close" onClick={close}>
          <X size={16} />
        </IconButton>
      </header>
      <div className="flex min-h-0 flex-1">
      <div ref={body} className="min-w-0 flex-1 overflow-auto">
        <section aria-label="Verdict" className="flex flex-col gap-2 border-b border-line p-3 text-list">
          <p className="text-muted">
            {STATUS[run.outcome ?? ''] ?? run.state} · {plural(run.turn_count, 'turn')}
            {run.seconds !== null && ` · ${duration(run.seconds)}`}
            {run.completion_reason && ` · ${reason(run.completion_reason)}`} · seed {run.seed}
          </p>
          {run.cut_short && <Badge kind="warn">cut short: {run.cut_short.replaceAll('_', ' ')}</Badge>}
          {run.error && <p className="text-bad">{run.error}</p>}
          <ul className="flex flex-col gap-2">
            {run.findings.map((finding) => (
              <li key={finding.check} className="flex gap-2">
                <span className="mt-0.5">
                  <StatusShape status="failed" />
                </span>
                <span className="min-w-0 flex-1">
                  <span className="font-medium">{finding.check}</span>
                  <span className="block break-words text-muted">
                    {finding.message} {finding.turn_ids.map(link)}
                  </span>
                </span>
              </li>
            ))}
            {run.criteria.map((criterion) => (
              <li key={criterion.criterion} className="flex gap-2">
                <span className="mt-0.5">
                  <StatusShape status={criterion.outcome} />
                </span>
                <span className="min-w-0 flex-1">
                  <span className="font-medium">{criterion.criterion}</span>
                  <span className="block break-words text-muted">
                    {criterion.reason.replace(/turn_[0-9a-f]+/g, (each) => (turns.has(each) ? `#${turns.get(each)?.index}` : each))} {criterion.turn_ids.map(link)}
                  </span>
                  {((criterion as Partial<typeof criterion>).quotes ?? []).map((quote) => (
                    <button
                      key={`${quote.turn_id} ${quote.text}`}
                      type="button"
                      title={`Said in #${turns.get(quote.turn_id)?.index ?? '…'}`}
                      onClick={() => select(quote.turn_id)}
                      className="target mt-1 block w-full rounded-sm border-l-2 border-warn bg-sunken px-2 py-0.5 text-left break-words hover:bg-hover"
                    >
                      “{quote.text}”
                    </button>
                  ))}
                </span>
              </li>
            ))}
          </ul>
          {run.outcome !== null && run.outcome !== 'passed' && (
            <Button look="main" className="self-start" onClick={() => setReplaying(true)}>
              Replay from here …
            </Button>
          )}
          <p className="flex flex-wrap gap-x-3 text-meta text-muted">
            {costs.filter(({ purpose, amount }) => purpose === 'turn' || amount.value > 0n || amount.unpriced.length > 0).map(({ purpose, amount }) => (
              <span key={purpose}>
                {SESSION_PURPOSES[purpose]} <Money amount={amount} places={places} />
              </span>
            ))}
          </p>
          {scenario && (
            <details>
              <summary className="target text-muted">What the simulated user wants and knows</summary>
              <p className="py-1">{scenario.goal}</p>
              {scenario.facts && <Json value={scenario.facts} name="facts" />}
            </details>
          )}
        </section>
        <Transcript store={store} selected={turn} quoted={quoted} quotes={quotes} select={select} />
      </div>
      <Strip turns={path.map((each) => turns.get(each))} offset={0} branchPoints={NO_TURNS} quoted={quoted} jump={(at) => path[at] && select(path[at])} />
      </div>
      {replaying && <Replay suite={suite} run={run} definition={definition.data ?? null} turns={turns} close={() => setReplaying(false)} />}
    </aside>
  )
}
