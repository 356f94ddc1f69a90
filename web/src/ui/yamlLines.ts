/** Finds the line of a place such as `nodes.a.transitions[0].to` in a YAML or JSON file. */
import { isMap, isNode, isScalar, isSeq, LineCounter, parseDocument, type Node } from 'yaml'
import type { Fault } from '../api/problems.ts'
import type { LineFault } from './Editor.tsx'

const steps = (place: string): (string | number)[] =>
  [...place.matchAll(/\[(\d+)\]|([^.[\]]+)/g)].map((found) => (found[1] !== undefined ? Number(found[1]) : (found[2] ?? '')))

export function withLines(text: string, faults: readonly Fault[]): LineFault[] {
  const counter = new LineCounter()
  const document = parseDocument(text, { lineCounter: counter })
  return faults.map((fault) => {
    let at: unknown = document.contents
    let offset: number | null = null
    for (const step of steps(fault.place)) {
      // An entry of a list is named by its position, or by its id or name.
      let next: unknown
      if (isMap(at)) {
        const pair = at.items.find((each) => (isScalar(each.key) ? String(each.key.value) : '') === String(step))
        if (isNode(pair?.key)) offset = startOf(pair.key) ?? offset
        next = pair?.value
      } else if (isSeq(at)) {
        next =
          typeof step === 'number'
            ? at.items[step]
            : at.items.find((each) => isMap(each) && [each.get('id'), each.get('name')].includes(step))
        if (isNode(next)) offset = startOf(next) ?? offset
      }
      if (next === undefined) break
      at = next
    }
    return { ...fault, line: offset === null ? null : counter.linePos(offset).line }
  })
}

const startOf = (node: Node): number | null => node.range?.[0] ?? null

/** The syntax errors that the parser finds, before the file is sent to the API. */
export function syntaxFaults(text: string): LineFault[] {
  const counter = new LineCounter()
  return parseDocument(text, { lineCounter: counter }).errors.map((error) => ({
    place: '',
    message: (error.message.split('\n')[0] ?? '').replace(/ at line \d+, column \d+:?$/, ''),
    line: counter.linePos(error.pos[0]).line,
  }))
}
