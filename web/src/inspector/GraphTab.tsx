/** The agent's graph at the selected turn, and the same as a list. */
import { useMemo, useState } from 'react'
import GraphView from '../agents/GraphView.tsx'
import { NodeDetails } from '../agents/NodeDetails.tsx'
import { useAgent } from '../sessions/queries.ts'
import { useSession } from '../timeline/store.ts'
import { visits } from '../timeline/variables.ts'
import { Button, join } from '../ui/controls.tsx'
import { Empty, Loading, ProblemNote } from '../ui/states.tsx'
import type { TabProps } from './Inspector.tsx'

export default function GraphTab({ store, selection, upTo }: TabProps) {
  const session = useSession(store, (state) => state.timeline.session)
  const agent = useAgent(session?.agent_id ?? '', session?.agent_version)
  const [opened, setOpened] = useState<string>()
  const walked = useMemo(() => visits(upTo), [upTo])
  if (!session || agent.isPending) return <Loading rows={1} height={320} />
  if (agent.isError) return <ProblemNote error={agent.error} retry={() => void agent.refetch()} />
  const { definition } = agent.data
  const at = walked.at(-1)?.node ?? [...upTo].reverse().find((turn) => turn.node_id)?.node_id ?? definition.start
  const names = Object.keys(definition.nodes)
  if (names.length === 0) return <Empty title="This agent has no nodes" />
  return (
    <div className="flex h-full flex-col">
      <div className="h-[55%] min-h-72 border-b border-line bg-canvas">
        <GraphView definition={definition} at={at} walked={walked} opened={opened} open={setOpened} />
      </div>
      <div className="min-h-0 flex-1 overflow-auto p-3">
        {opened ? (
          <>
            <Button look="quiet" onClick={() => setOpened(undefined)}>
              ‹ All nodes
            </Button>
            <NodeDetails definition={definition} name={opened} open={setOpened} />
          </>
        ) : (
          <table className="w-full text-left text-list">
            <thead className="text-meta text-muted">
              <tr>
                <th className="px-2 font-normal">Node</th>
                <th className="px-2 font-normal">Visits</th>
                <th className="pl-2 font-normal">Goes on to</th>
              </tr>
            </thead>
            <tbody>
              {names.map((name) => {
                const times = walked.filter((visit) => visit.node === name)
                return (
                  <tr key={name} className={join('border-t border-line align-top', name === at && 'bg-accent-tint')}>
                    <th scope="row" className="py-0.5 font-normal">
                      <Button look="quiet" onClick={() => setOpened(name)}>
                        {name}
                        {name === at && <span className="text-accent"> · here</span>}
                      </Button>
                    </th>
                    <td>
                      {times.map((visit, index) => (
                        <Button key={index} look="quiet" aria-label={`Visit in turn ${upTo.find((turn) => turn.id === visit.turn)?.index}`} onClick={() => selection.go({ turn: visit.turn })}>
                          #{upTo.find((turn) => turn.id === visit.turn)?.index}
                        </Button>
                      ))}
                    </td>
                    <td className="py-1 pl-2 text-muted">{[...new Set(definition.nodes[name]?.transitions?.map((each) => each.to))].join(', ') || 'end'}</td>
                  </tr>
                )
              })}
            </tbody>
          </table>
        )}
      </div>
    </div>
  )
}
