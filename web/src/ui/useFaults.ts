/** The faults of a file at their lines: the parser's own, else the API's. The parser is loaded once there is text. */
import { useEffect, useState } from 'react'
import type { Fault } from '../api/problems.ts'
import type { LineFault } from './Editor.tsx'

const NONE: readonly LineFault[] = []

export function useFaults(text: string, apiFaults: readonly Fault[] | undefined): { faults: readonly LineFault[]; broken: boolean } {
  const [state, setState] = useState<{ faults: readonly LineFault[]; broken: boolean }>({ faults: NONE, broken: false })
  useEffect(() => {
    let gone = false
    if (!text.trim()) {
      setState({ faults: NONE, broken: false })
      return
    }
    void import('./yamlLines.ts').then(({ syntaxFaults, withLines }) => {
      if (gone) return
      const syntax = syntaxFaults(text)
      setState(syntax.length > 0 ? { faults: syntax, broken: true } : { faults: withLines(text, apiFaults ?? []), broken: false })
    })
    return () => {
      gone = true
    }
  }, [text, apiFaults])
  return state
}
