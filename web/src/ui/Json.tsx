/** JSON as a tree: two spaces, folded below depth two and over twenty entries, long strings cut, nothing huge parsed. */
import { useMemo, useState } from 'react'
import { bytes, plural } from '../words.ts'
import { Button, join } from './controls.tsx'
import { CopyButton, download } from './states.tsx'

const LARGEST = 64_000
const MAX_STRING_LENGTH = 500
const MAX_OPEN = 20

export function Json({ value, name = 'value' }: { value: unknown; name?: string }) {
  const size = useMemo(() => (typeof value === 'string' ? value.length : (JSON.stringify(value)?.length ?? 0)), [value])
  if (size > LARGEST) {
    const text = typeof value === 'string' ? value : JSON.stringify(value)
    return (
      <div className="rounded-sm bg-sunken p-2">
        <pre className="font-mono text-code break-all whitespace-pre-wrap">{text.slice(0, 1_000)} …</pre>
        <div className="mt-1 flex items-center gap-2 text-meta text-muted">
          {bytes(size)}, too large to unfold here
          <Button onClick={() => void download(new Response(text), `${name}.json`)}>Download</Button>
        </div>
      </div>
    )
  }
  return (
    <div className="group relative rounded-sm bg-sunken p-2 font-mono text-code break-words">
      <div className="absolute top-1 right-1 font-sans">
        <CopyButton text={typeof value === 'string' ? value : JSON.stringify(value, null, 2)} label="Copy JSON" />
      </div>
      <Value value={value} depth={0} />
    </div>
  )
}

function Value({ value, depth }: { value: unknown; depth: number }) {
  if (value === null || typeof value === 'boolean' || typeof value === 'number') return <span className="text-live">{String(value)}</span>
  if (typeof value === 'string') return <Text value={value} />
  if (typeof value !== 'object' || value === undefined) return <span className="text-faint">{String(value)}</span>
  return <Nested value={value} depth={depth} />
}

function Text({ value }: { value: string }) {
  const [whole, setWhole] = useState(false)
  const cut = value.length > MAX_STRING_LENGTH && !whole
  return (
    <span className="whitespace-pre-wrap text-ok">
      "{cut ? value.slice(0, MAX_STRING_LENGTH) : value}"
      {cut && (
        <button type="button" className="ml-1 font-sans text-meta text-accent underline" onClick={() => setWhole(true)}>
          {plural(value.length - MAX_STRING_LENGTH, 'more character')}
        </button>
      )}
    </span>
  )
}

function Nested({ value, depth }: { value: object; depth: number }) {
  const isList = Array.isArray(value)
  const entries = Object.entries(value)
  const [open, setOpen] = useState(depth < 2 && entries.length <= MAX_OPEN)
  const [from, to] = isList ? '[]' : '{}'
  if (entries.length === 0) return <span className="text-muted">{isList ? '[]' : '{}'}</span>
  return (
    <>
      <button
        type="button"
        aria-expanded={open}
        className="min-h-[18px] pointer-coarse:min-h-11 pointer-coarse:min-w-11 rounded-sm text-muted hover:bg-hover hover:text-text"
        onClick={() => setOpen(!open)}
      >
        {open ? '▾' : '▸'} {from}
        {!open && ` ${plural(entries.length, 'entry', 'entries')} ${to}`}
      </button>
      {open && (
        <>
          <ul className={join('pl-4', depth > 0 && 'border-l border-line')}>
            {entries.map(([name, each]) => (
              <li key={name}>
                {!isList && <span className="text-accent">{name}: </span>}
                <Value value={each} depth={depth + 1} />
              </li>
            ))}
          </ul>
          <span className="text-muted">{to}</span>
        </>
      )}
    </>
  )
}
