/** An editor for a file that is pasted, dropped or chosen; faults are shown at their lines. */
import { useRef, useState } from 'react'
import type { Fault } from '../api/problems.ts'
import { Button, join } from './controls.tsx'

export interface LineFault extends Fault {
  line: number | null
}

interface EditorProps {
  label: string
  value: string
  onChange: (text: string) => void
  faults: readonly LineFault[]
  placeholder: string
}

const LINE = 18

export function Editor({ label, value, onChange, faults, placeholder }: EditorProps) {
  const field = useRef<HTMLTextAreaElement>(null)
  const gutter = useRef<HTMLDivElement>(null)
  const file = useRef<HTMLInputElement>(null)
  const [over, setOver] = useState(false)
  const lines = value.split('\n').length
  const wrong = new Map(faults.flatMap((fault) => (fault.line === null ? [] : [[fault.line, fault] as const])))
  const read = (given: File | undefined): void => void given?.text().then(onChange)
  const goTo = (line: number): void => {
    const at = value.split('\n').slice(0, line - 1).join('\n').length
    field.current?.focus()
    field.current?.setSelectionRange(at + (line > 1 ? 1 : 0), at + (line > 1 ? 1 : 0))
    if (field.current) field.current.scrollTop = Math.max(0, (line - 5) * LINE)
  }
  return (
    <div
      className={join('flex min-h-0 flex-col rounded-sm border bg-surface', over ? 'border-accent' : 'border-control')}
      onDragOver={(event) => {
        event.preventDefault()
        setOver(true)
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault()
        setOver(false)
        read(event.dataTransfer.files[0])
      }}
    >
      <div className="flex min-h-0 flex-1">
        <div ref={gutter} aria-hidden className="w-11 overflow-hidden border-r border-line bg-sunken py-2 text-right font-mono text-code text-faint">
          {Array.from({ length: lines }, (_, at) => (
            <div key={at} className={join('px-1.5', wrong.has(at + 1) && 'bg-bad-tint font-bold text-bad')} style={{ height: LINE }}>
              {at + 1}
            </div>
          ))}
        </div>
        <textarea
          ref={field}
          aria-label={label}
          aria-invalid={faults.length > 0}
          spellCheck={false}
          wrap="off"
          value={value}
          placeholder={placeholder}
          onChange={(event) => onChange(event.target.value)}
          onScroll={(event) => {
            if (gutter.current) gutter.current.scrollTop = event.currentTarget.scrollTop
          }}
          className="min-h-72 flex-1 resize-none bg-surface p-2 font-mono text-code outline-none placeholder:text-faint"
        />
      </div>
      <div className="flex flex-wrap items-center gap-2 border-t border-line px-2 py-1">
        <input ref={file} type="file" accept=".yaml,.yml,.json" className="hidden" onChange={(event) => read(event.target.files?.[0])} />
        <Button onClick={() => file.current?.click()}>Choose a file</Button>
        <span className="text-meta text-muted">or drop one here, or paste</span>
      </div>
      {faults.length > 0 && (
        <div role="alert" className="border-t border-line bg-bad-tint px-3 py-2 text-list">
          <ul>
            {faults.map((fault, at) => (
              <li key={at}>
                {fault.line !== null && (
                  <button type="button" className="target mr-1 font-medium text-bad underline" onClick={() => goTo(fault.line ?? 1)}>
                    line {fault.line}
                  </button>
                )}
                {fault.place && <code className="font-mono text-code">{fault.place}</code>} {fault.message}
              </li>
            ))}
          </ul>
        </div>
      )}
    </div>
  )
}
