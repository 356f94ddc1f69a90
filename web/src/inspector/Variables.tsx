/** The variables at the selected turn, each with the turn that set it. */
import { useSession } from '../timeline/store.ts'
import { variablesAt } from '../timeline/variables.ts'
import type { Json as JsonValue } from '../api/types.ts'
import { Button, join } from '../ui/controls.tsx'
import { Json } from '../ui/Json.tsx'
import { Empty } from '../ui/states.tsx'
import type { TabProps } from './Inspector.tsx'

const written = (value: JsonValue | undefined): string => (value === null || value === undefined ? 'none' : typeof value === 'string' ? value : JSON.stringify(value))

export function Variables({ store, selection, upTo }: TabProps) {
  const session = useSession(store, (state) => state.timeline.session)
  const turns = useSession(store, (state) => state.timeline.turns)
  const variables = variablesAt(session?.initial_context ?? {}, upTo)
  const annotations = session?.annotations ?? {}
  return (
    <div className="flex flex-col gap-3 p-3">
      {variables.length === 0 ? (
        <Empty title="Nothing is known yet">What was given at the start and what is read from the conversation is listed here.</Empty>
      ) : (
        <table className="w-full text-left text-list">
          <thead className="text-meta text-muted">
            <tr>
              <th className="py-1 pr-2 font-normal">Name</th>
              <th className="py-1 pr-2 font-normal">Value</th>
              <th className="py-1 font-normal">Since</th>
            </tr>
          </thead>
          <tbody>
            {variables.map((variable) => (
              <tr key={variable.name} className={join('border-t border-line align-top', variable.changedHere && 'bg-accent-tint')}>
                <th scope="row" className="py-1.5 pr-2 font-mono text-code font-normal break-all">
                  {variable.name}
                </th>
                <td className="py-1.5 pr-2 break-words">
                  {variable.changedHere && variable.before !== undefined && variable.before !== null && (
                    <span className="text-faint line-through">{written(variable.before)}</span>
                  )}{' '}
                  <span className={variable.value === null ? 'text-faint' : ''}>{written(variable.value)}</span>
                </td>
                <td className="py-1 whitespace-nowrap">
                  {variable.since === null ? (
                    <span className="text-muted">the start</span>
                  ) : (
                    <Button look="quiet" onClick={() => selection.go({ turn: variable.since ?? undefined })}>
                      #{turns.get(variable.since)?.index}
                    </Button>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {Object.keys(annotations).length > 0 && (
        <section>
          <h3 className="mb-1 text-meta text-muted">Annotations</h3>
          <Json value={annotations} name="annotations" />
        </section>
      )}
    </div>
  )
}
