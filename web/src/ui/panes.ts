/** The panes that are open on narrow screens, and the connection that the top bar shows. */
import { create } from 'zustand'
import type { Link } from '../api/stream.ts'

interface Panes {
  list: boolean
  inspector: boolean
  link: Link | null
  set(change: Partial<Omit<Panes, 'set'>>): void
}

export const usePanes = create<Panes>()((set) => ({ list: false, inspector: false, link: null, set: (change) => set(change) }))
