/** A new suite from a file. */
import { useMutation } from '@tanstack/react-query'
import { useNavigate } from '@tanstack/react-router'
import { useMemo, useState } from 'react'
import { asProblem } from '../api/problems.ts'
import { suites } from '../api/routes.ts'
import { Button } from '../ui/controls.tsx'
import { Editor } from '../ui/Editor.tsx'
import { ProblemNote, useTitle } from '../ui/states.tsx'
import { useFaults } from '../ui/useFaults.ts'

const EXAMPLE = `name: evening calls
agent: booking-line
repeats: 5
scenarios:
  - id: books-a-table
    goal: Book a table for dinner.
    facts: {date: Friday, time: "19:30", party size: 4, name: Anna Bell}
    success:
      - The agent repeated the booking and asked whether everything is right.`

export function NewSuite() {
  useTitle('New suite')
  const navigate = useNavigate()
  const [text, setText] = useState('')
  const [repeats, setRepeats] = useState('')
  const [concurrency, setConcurrency] = useState('')
  const [budget, setBudget] = useState('')
  const start = useMutation({
    mutationFn: () =>
      suites.start(text, 'application/yaml', {
        ...(repeats && { repeats: Number(repeats) }),
        ...(concurrency && { concurrency: Number(concurrency) }),
        ...(budget && { budget_usd: budget }),
      }),
    onSuccess: (suite) => void navigate({ to: '/suites/$id', params: { id: suite.id }, search: {} }),
  })
  const problem = useMemo(() => (start.error ? asProblem(start.error) : null), [start.error])
  const apiFaults = useMemo(() => problem?.faults, [problem])
  const { faults } = useFaults(text, apiFaults)
  return (
    <main id="main" className="min-h-0 flex-1 overflow-auto">
      <form
        className="mx-auto flex max-w-4xl flex-col gap-3 p-4 sm:p-6"
        onSubmit={(event) => {
          event.preventDefault()
          start.mutate()
        }}
      >
        <h1 className="text-title font-semibold">New suite</h1>
        <Editor
          label="The suite’s file"
          value={text}
          onChange={(next) => {
            setText(next)
            start.reset()
          }}
          faults={faults}
          placeholder={EXAMPLE}
        />
        <div className="grid gap-3 sm:grid-cols-3">
          {(
            [
              ['Repeats', repeats, setRepeats],
              ['At a time', concurrency, setConcurrency],
              ['Budget in dollars', budget, setBudget],
            ] as const
          ).map(([label, value, set]) => (
            <label key={label} className="text-list text-muted">
              {label}
              <input inputMode="decimal" value={value} placeholder="as the file says" onChange={(event) => set(event.target.value)} className="field mt-1 w-full text-text" />
            </label>
          ))}
        </div>
        {problem && problem.faults.length === 0 && <ProblemNote error={problem} className="mx-0" />}
        <div className="flex justify-end">
          <Button type="submit" look="main" className="px-4 py-1.5" disabled={!text.trim() || start.isPending}>
            Start
          </Button>
        </div>
      </form>
    </main>
  )
}
