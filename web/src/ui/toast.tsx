/** Toasts: short messages at the edge of the page. */
import { Toast } from '@base-ui/react/toast'
import { asProblem, adviceFor } from '../api/problems.ts'
import { Button } from './controls.tsx'

const manager = Toast.createToastManager()

export function showToast(title: string, action?: { label: string; run: () => void }): void {
  manager.add({
    title,
    timeout: action ? 10_000 : 2_500,
    ...(action && { actionProps: { children: action.label, onClick: action.run } }),
  })
}

export function showProblem(error: unknown): void {
  const problem = asProblem(error)
  manager.add({
    title: problem.title,
    description: [problem.detail, adviceFor(problem)].filter(Boolean).join(' '),
    priority: 'high',
    type: 'problem',
    timeout: 12_000,
  })
}

function List() {
  const { toasts } = Toast.useToastManager()
  return toasts.map((toast) => (
    <Toast.Root
      key={toast.id}
      toast={toast}
      className="flex items-start gap-3 rounded-lg border border-line bg-surface px-3 py-2 text-list shadow-layer data-[type=problem]:border-bad"
    >
      <div className="min-w-0 flex-1">
        <Toast.Title className="font-medium" />
        <Toast.Description className="break-words text-muted" />
      </div>
      {toast.actionProps && <Toast.Action render={<Button />} />}
      <Toast.Close aria-label="Close" className="target text-muted">
        ×
      </Toast.Close>
    </Toast.Root>
  ))
}

export function Toasts() {
  return (
    <Toast.Provider toastManager={manager}>
      <Toast.Portal>
        <Toast.Viewport className="fixed right-4 bottom-4 left-4 z-50 flex flex-col gap-2 sm:left-auto sm:w-96">
          <List />
        </Toast.Viewport>
      </Toast.Portal>
    </Toast.Provider>
  )
}
