/** Buttons, menus, tabs, tooltips and dialogs, mostly thin over Base UI. */
import { Menu as BaseMenu } from '@base-ui/react/menu'
import { Tabs as BaseTabs } from '@base-ui/react/tabs'
import { Tooltip as BaseTooltip } from '@base-ui/react/tooltip'
import { type ButtonHTMLAttributes, type ReactElement, type ReactNode, type Ref, useEffect, useRef } from 'react'
import { X } from 'lucide-react'
import { type Action, keyOf } from '../keys.ts'

export const join = (...names: (string | false | null | undefined)[]): string => names.filter(Boolean).join(' ')

type Look = 'plain' | 'main' | 'quiet' | 'danger'
const LOOKS: Record<Look, string> = {
  plain: 'border border-control bg-surface hover:bg-hover',
  main: 'border border-accent bg-accent text-on-accent font-medium disabled:bg-hover disabled:border-line disabled:text-faint',
  quiet: 'border border-transparent hover:bg-hover',
  danger: 'border border-bad text-bad bg-surface hover:bg-bad-tint disabled:border-line disabled:bg-hover disabled:text-faint',
}

interface ButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  look?: Look
  ref?: Ref<HTMLButtonElement>
}

export function Button({ look = 'plain', className, type = 'button', ...rest }: ButtonProps) {
  return (
    <button
      type={type}
      className={join('target inline-flex items-center justify-center gap-1 rounded-sm px-2 py-0.5 text-list whitespace-nowrap', LOOKS[look], className)}
      {...rest}
    />
  )
}

interface IconButtonProps extends ButtonProps {
  label: string
  action?: Action
}

/** A button with an icon; a tooltip shows its name and its key. */
export function IconButton({ label, action, className, children, ...rest }: IconButtonProps) {
  return (
    <Tip label={label} action={action}>
      <button
        type="button"
        aria-label={label}
        className={join('target inline-flex items-center justify-center rounded-sm text-muted hover:bg-hover hover:text-text', className)}
        {...rest}
      >
        {children}
      </button>
    </Tip>
  )
}

export function Tip({ label, action, children }: { label: ReactNode; action?: Action | undefined; children: ReactElement<Record<string, unknown>> }) {
  return (
    <BaseTooltip.Root>
      <BaseTooltip.Trigger render={children} />
      <BaseTooltip.Portal>
        <BaseTooltip.Positioner sideOffset={4} className="z-50">
          <BaseTooltip.Popup className="max-w-80 rounded-sm border border-line bg-surface px-2 py-1 text-meta whitespace-pre-line text-text shadow-layer">
            {label}
            {action && <Key>{keyOf(action)}</Key>}
          </BaseTooltip.Popup>
        </BaseTooltip.Positioner>
      </BaseTooltip.Portal>
    </BaseTooltip.Root>
  )
}

export const TipProvider = BaseTooltip.Provider

export function Key({ children }: { children: ReactNode }) {
  return <kbd className="ml-2 rounded-sm border border-line bg-sunken px-1 font-sans text-meta text-muted">{children}</kbd>
}

export interface MenuEntry {
  label: string
  action?: Action
  icon?: ReactNode
  detail?: string
  chosen?: boolean
  disabled?: boolean
  danger?: boolean
  run: () => void
}

export function Menu({ trigger, entries }: { trigger: ReactElement<Record<string, unknown>>; entries: readonly (MenuEntry | null)[] }) {
  return (
    <BaseMenu.Root modal={false}>
      <BaseMenu.Trigger render={trigger} />
      <BaseMenu.Portal>
        <BaseMenu.Positioner sideOffset={4} align="end" className="z-50">
          <BaseMenu.Popup className="min-w-52 rounded-lg border border-line bg-surface p-1 text-list shadow-layer outline-none">
            {entries.map((entry, at) =>
              entry === null ? (
                <div key={`line ${at}`} role="separator" className="mx-1 my-1 border-t border-line" />
              ) : (
                <BaseMenu.Item
                  key={entry.label}
                  disabled={entry.disabled ?? false}
                  onClick={entry.run}
                  className={join(
                    'target flex items-center gap-2 rounded-sm px-2 py-1 outline-none data-[highlighted]:bg-hover data-[disabled]:text-faint',
                    entry.danger && 'text-bad',
                  )}
                >
                  {entry.icon && <span className="text-muted">{entry.icon}</span>}
                  <span className="flex-1">
                    {entry.label}
                    {entry.detail && <span className="block text-meta text-faint">{entry.detail}</span>}
                  </span>
                  {entry.chosen && <span aria-label="chosen">✓</span>}
                  {entry.action && <Key>{keyOf(entry.action)}</Key>}
                </BaseMenu.Item>
              ),
            )}
          </BaseMenu.Popup>
        </BaseMenu.Positioner>
      </BaseMenu.Portal>
    </BaseMenu.Root>
  )
}

export function Tabs({
  tabs,
  value,
  onChange,
  children,
  label,
}: {
  tabs: readonly { id: string; label: string; action?: Action }[]
  value: string
  onChange: (id: string) => void
  children: ReactNode
  label: string
}) {
  return (
    <BaseTabs.Root value={value} onValueChange={(next) => onChange(String(next))} className="flex min-h-0 flex-1 flex-col">
      <BaseTabs.List aria-label={label} className="flex shrink-0 gap-1 overflow-x-auto overflow-y-hidden border-b border-line px-2 [scrollbar-width:none]">
        {tabs.map((tab) => (
          <BaseTabs.Tab
            key={tab.id}
            value={tab.id}
            title={tab.action ? `${tab.label} (${keyOf(tab.action)})` : tab.label}
            className="target -mb-px border-b-2 border-transparent px-2 py-2 text-list text-muted hover:text-text data-[active]:border-accent data-[active]:font-medium data-[active]:text-text"
          >
            {tab.label}
          </BaseTabs.Tab>
        ))}
      </BaseTabs.List>
      <BaseTabs.Panel value={value} className="min-h-0 flex-1 overflow-auto">
        {children}
      </BaseTabs.Panel>
    </BaseTabs.Root>
  )
}

/** A modal dialog: the browser's own, which traps focus, closes on Escape and gives focus back. */
export function Dialog({
  title,
  onClose,
  children,
  wide = false,
  atTop = false,
}: {
  title: string
  onClose: () => void
  children: ReactNode
  wide?: boolean
  /** Keeps the head in its place, whatever the height of the dialog. */
  atTop?: boolean
}) {
  const dialog = useRef<HTMLDialogElement>(null)
  useEffect(() => {
    const opener = document.activeElement
    const shown = dialog.current
    shown?.showModal()
    // The browser would focus the first control, the close button: focus the first field instead, or else the title.
    const wanted = shown?.querySelector<HTMLElement>('input, select, textarea') ?? shown?.querySelector('h2')
    wanted?.focus()
    return () => {
      shown?.close()
      if (opener instanceof HTMLElement && opener.isConnected) opener.focus()
    }
  }, [])
  return (
    <dialog
      ref={dialog}
      aria-label={title}
      onCancel={(event) => {
        event.preventDefault()
        onClose()
      }}
      onClick={(event) => {
        if (event.target === dialog.current) onClose()
      }}
      className={join(
        'max-h-[85dvh] w-[calc(100vw-32px)] overflow-auto rounded-lg border border-line bg-surface p-0 shadow-layer backdrop:bg-black/40',
        atTop ? 'mx-auto mt-[10dvh] mb-auto' : 'm-auto',
        wide ? 'max-w-3xl' : 'max-w-md',
      )}
    >
      <div className="flex items-center justify-between border-b border-line px-4 py-2">
        <h2 tabIndex={-1} className="font-semibold outline-none">
          {title}
        </h2>
        <IconButton label="Close" onClick={onClose}>
          <X size={16} />
        </IconButton>
      </div>
      <div className="p-4">{children}</div>
    </dialog>
  )
}

/** A bar between two panes; arrow keys move it by 16 px. */
export function Splitter({
  label,
  value,
  range,
  side,
  onChange,
}: {
  label: string
  value: number
  range: readonly [number, number]
  side: 'left' | 'right'
  onChange: (width: number) => void
}) {
  const [least, most] = range
  const clamp = (width: number): number => Math.round(Math.min(most, Math.max(least, width)))
  const direction = side === 'left' ? 1 : -1
  return (
    <div
      role="separator"
      aria-orientation="vertical"
      aria-label={label}
      aria-valuenow={value}
      aria-valuemin={least}
      aria-valuemax={most}
      tabIndex={0}
      className="group relative z-10 h-full w-2 shrink-0 cursor-col-resize"
      onKeyDown={(event) => {
        const step = event.key === 'ArrowRight' ? 16 : event.key === 'ArrowLeft' ? -16 : 0
        if (step === 0) return
        event.preventDefault()
        event.stopPropagation()
        onChange(clamp(value + step * direction))
      }}
      onPointerDown={(event) => {
        const bar = event.currentTarget
        const from = event.clientX
        bar.setPointerCapture(event.pointerId)
        const move = (moved: PointerEvent): void => onChange(clamp(value + (moved.clientX - from) * direction))
        bar.addEventListener('pointermove', move)
        bar.addEventListener('pointerup', () => bar.removeEventListener('pointermove', move), { once: true })
      }}
    >
      <div className="mx-auto h-full w-0.5 group-hover:bg-accent group-focus-visible:bg-accent" />
    </div>
  )
}
