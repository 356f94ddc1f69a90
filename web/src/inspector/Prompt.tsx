/** A prompt in which the places of variables are marked. */
import { Fragment } from 'react'
import type { StepRequest } from '../api/types.ts'
import { Tip } from '../ui/controls.tsx'

const SOURCES: Record<StepRequest['variables'][number]['source'], string> = {
  initial_context: 'given when the session was opened',
  gathered_context: 'read from the conversation',
  agent_default: 'the agent’s default',
  fallback: 'the words after | in the template',
  pre_call_fetch: 'fetched before the call',
  built_in: 'the time of the turn',
}

/** Rendered text: each filled place is marked and names its source. */
export function Rendered({ text, variables }: { text: string; variables: StepRequest['variables'] }) {
  const sorted = [...variables].sort((a, b) => a.start - b.start)
  let at = 0
  return (
    <p dir="auto" className="text-list break-words whitespace-pre-wrap">
      {sorted.map((variable, index) => {
        const before = text.slice(at, variable.start)
        at = variable.end
        return (
          <Fragment key={index}>
            {before}
            <Tip label={`${variable.name}: ${SOURCES[variable.source]}`}>
              <span tabIndex={0} className="variable">
                {text.slice(variable.start, variable.end)}
              </span>
            </Tip>
          </Fragment>
        )
      })}
      {text.slice(at)}
    </p>
  )
}

/** A template: each `{{variable | fallback}}` is marked, with the value it has if that is known. */
export function Template({ text, values = {} }: { text: string; values?: Readonly<Record<string, unknown>> }) {
  const parts = text.split(/(\{\{[^}]*\}\})/)
  return (
    <p dir="auto" className="text-list break-words whitespace-pre-wrap">
      {parts.map((part, at) => {
        const found = /^\{\{\s*([\w.]+)\s*(?:\|\s*(.*?))?\s*\}\}$/.exec(part)
        if (!found) return part
        const value = values[found[1] ?? '']
        const known = value !== undefined && value !== null
        return (
          <Tip key={at} label={known ? `${found[1]} is ${String(value)}` : `${found[1]} is not known${found[2] ? `: "${found[2]}" is said` : ''}`}>
            <span tabIndex={0} className="variable">
              {part}
            </span>
          </Tip>
        )
      })}
    </p>
  )
}
