/** Two requests to a model: the words that differ, part by part. */
import { diffWordsWithSpace } from 'diff'
import { useMemo } from 'react'
import type { Step } from '../api/types.ts'

const LONGEST = 40_000

/** A request in parts, each as text. */
export function partsOf({ model, request }: Step): { name: string; text: string }[] {
  const called = (calls: { name: string; arguments: object }[] = []): string => calls.map((call) => `\n${call.name}(${JSON.stringify(call.arguments)})`).join('')
  return [
    { name: 'Model', text: model },
    { name: 'Instructions', text: request.instructions },
    { name: 'Messages', text: request.messages.map((message) => `${message.role}: ${message.content}${called(message.tool_calls)}`).join('\n') },
    { name: 'Offered', text: request.tools.map((tool) => `${tool.name}${tool.to ? ` → ${tool.to}` : ''}: ${tool.description}`).join('\n') },
    { name: 'Settings', text: JSON.stringify(request.settings, null, 2) },
  ]
}

export default function RequestDifference({ before, after }: { before: Step; after: Step }) {
  const parts = useMemo(() => {
    const old = partsOf(before)
    return partsOf(after).map((part, at) => ({ name: part.name, before: old[at]?.text ?? '', after: part.text }))
  }, [before, after])
  const changed = parts.filter((part) => part.before !== part.after)
  const same = parts.filter((part) => part.before === part.after).map((part) => part.name)
  return (
    <div className="flex flex-col gap-2">
      {changed.map((part) => (
        <div key={part.name}>
          <p className="text-meta text-muted">{part.name}</p>
          <Words before={part.before} after={part.after} />
        </div>
      ))}
      {same.length > 0 && <p className="text-meta text-muted">The same: {same.join(', ').toLowerCase()}.</p>}
    </div>
  )
}

function Words({ before, after }: { before: string; after: string }) {
  if (before.length + after.length > LONGEST) return <p className="text-list text-muted">It differs, and is too long to be compared word by word.</p>
  return (
    <p dir="auto" className="text-list break-words whitespace-pre-wrap">
      {diffWordsWithSpace(before, after).map((part, at) =>
        part.added ? (
          <ins key={at} className="bg-ok-tint decoration-ok">
            {part.value}
          </ins>
        ) : part.removed ? (
          <del key={at} className="bg-bad-tint decoration-bad">
            {part.value}
          </del>
        ) : (
          part.value
        ),
      )}
    </p>
  )
}
