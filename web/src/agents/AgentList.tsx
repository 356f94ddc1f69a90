/** All agents. */
import { Link } from '@tanstack/react-router'
import { Plus } from 'lucide-react'
import { useAgents } from '../sessions/queries.ts'
import { Badge, Empty, Loading, ProblemNote, useNow, useTitle } from '../ui/states.tsx'
import { age, fullTime, plural } from '../words.ts'

export function AgentList() {
  useTitle('Agents')
  const agents = useAgents()
  const now = useNow()
  return (
    <main id="main" className="min-h-0 flex-1 overflow-auto">
      <div className="mx-auto max-w-4xl p-4 sm:p-6">
        <header className="mb-3 flex items-center gap-2">
          <h1 className="flex-1 text-title font-semibold">Agents</h1>
          <Link to="/agents/new" className="target inline-flex items-center gap-1 rounded-sm bg-accent px-3 text-list font-medium text-on-accent">
            <Plus size={14} /> Upload
          </Link>
        </header>
        {agents.isPending ? (
          <Loading rows={4} height={44} />
        ) : agents.isError ? (
          <ProblemNote error={agents.error} retry={() => void agents.refetch()} />
        ) : agents.data.items.length === 0 ? (
          <Empty title="No agent yet">
            <code className="block rounded-sm bg-sunken p-2 font-mono text-code">playhead agents push agent.yaml</code>
          </Empty>
        ) : (
          <ul className="divide-y divide-line rounded-lg border border-line bg-surface">
            {agents.data.items.map((agent) => (
              <li key={agent.id} className="flex items-center hover:bg-hover">
                <Link to="/agents/$name" params={{ name: agent.name }} search={{}} className="flex min-h-13 min-w-0 flex-1 items-center gap-3 px-3 py-2 text-list">
                  <span className="min-w-0 flex-1">
                    <span className="block truncate font-medium">{agent.name}</span>
                    <span className="block text-meta text-muted">
                      version {agent.version} · {plural(Object.keys(agent.definition.nodes).length, 'node')}
                    </span>
                  </span>
                  {agent.warnings.length > 0 && <Badge kind="warn">{plural(agent.warnings.length, 'warning')}</Badge>}
                  <span title={fullTime(agent.created_at)} className="text-meta whitespace-nowrap text-faint max-sm:hidden">{age(agent.created_at, now)}</span>
                </Link>
                <Link to="/sessions/new" search={{ agent: agent.name }} className="target mr-3 inline-flex items-center rounded-sm border border-control bg-surface px-2 text-list hover:bg-hover">
                  Talk to it
                </Link>
              </li>
            ))}
          </ul>
        )}
      </div>
    </main>
  )
}
