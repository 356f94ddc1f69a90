/** The preferences that this browser stores: how the page looks and behaves. */
import { create } from 'zustand'
import { persist } from 'zustand/middleware'
import type { OnBusy } from '../api/types.ts'

export interface Preferences {
  theme: 'system' | 'light' | 'dark'
  density: 'normal' | 'dense'
  clock: 'local' | 'utc'
  singleKeys: boolean
  markdown: boolean
  followNode: boolean
  onBusy: Exclude<OnBusy, 'reject'>
  listWidth: number
  inspectorWidth: number
  listShown: boolean
  inspectorShown: boolean
  set(change: Partial<Omit<Preferences, 'set'>>): void
}

export const usePreferences = create<Preferences>()(
  persist(
    (set) => ({
      theme: 'system',
      density: 'normal',
      clock: 'local',
      singleKeys: true,
      markdown: false,
      followNode: true,
      onBusy: 'interrupt',
      listWidth: 280,
      inspectorWidth: 420,
      listShown: true,
      inspectorShown: true,
      set: (change) => set(change),
    }),
    { name: 'playhead.preferences', version: 1 },
  ),
)

const dark = typeof matchMedia === 'undefined' ? null : matchMedia('(prefers-color-scheme: dark)')

/** Puts the theme on the root, and again whenever it or the system's choice changes. */
export function followTheme(): void {
  const apply = (): void => {
    const { theme } = usePreferences.getState()
    document.documentElement.dataset['theme'] = theme === 'system' ? (dark?.matches ? 'dark' : 'light') : theme
  }
  apply()
  usePreferences.subscribe(apply)
  dark?.addEventListener('change', apply)
}
