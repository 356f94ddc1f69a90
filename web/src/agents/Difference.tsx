/** Two versions of an agent: the words that changed, node by node. */
import { diffWordsWithSpace } from 'diff'
import { useMemo } from 'react'
import { useAgent } from '../sessions/queries.ts'
import { Badge, Empty, Loading, ProblemNote } from '../ui/states.tsx'
import { difference } from './difference.ts'

export default function VersionDifference({ name, from, to, only }: { name: string; from: number; to: number; only?: string | undefined }) {
  const before = useAgent(name, from)
  const after = useAgent(name, to)
  const changes = useMemo(
    () => (before.data && after.data ? difference(before.data.definition, after.data.definition) : null),
    [before.data, after.data],
  )
  if (before.isError || after.isError) return <ProblemNote error={before.error ?? after.error} />
  if (!changes) return <Loading rows={3} />
  const shown = only === undefined ? changes : changes.filter((change) => change.node === only)
  if (shown.length === 0)
    return (
      <Empty title={only ? `${only} is the same in both` : 'Both versions are the same'} />
    )
  return (
    <ul className="flex flex-col gap-3">
      {shown.map((change) => (
        <li key={change.node} className="rounded-sm border border-line p-2">
          <h3 className="mb-1 flex items-center gap-2 text-list font-medium">
            {change.node || 'The whole agent'}
            <Badge kind={change.kind === 'added' ? 'ok' : change.kind === 'removed' ? 'bad' : 'warn'}>{change.kind}</Badge>
          </h3>
          {change.fields.map((field) => (
            <div key={field.name} className="mb-2">
              <p className="text-meta text-muted">{field.name}</p>
              <p className="text-list break-words whitespace-pre-wrap">
                {diffWordsWithSpace(field.before, field.after).map((part, at) =>
                  part.added ? (
                    <ins key={at} className="bg-ok-tint text-text decoration-ok">
                      {part.value}
                    </ins>
                  ) : part.removed ? (
                    <del key={at} className="bg-bad-tint text-text decoration-bad">
                      {part.value}
                    </del>
                  ) : (
                    <span key={at}>{part.value}</span>
                  ),
                )}
              </p>
            </div>
          ))}
        </li>
      ))}
    </ul>
  )
}
