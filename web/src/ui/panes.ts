/** Which panes are open where they do not fit beside each other, and what the top bar tells of the session on show. */
import { create } from 'zustand'
import type { Link } from '../api/stream.ts'

interface Panes {
  list: boolean
  inspector: boolean
  link: Link | null
  set(change: Partial<Omit<Panes, 'set'>>): void
}

export const usePanes = create<Panes>()((set) => ({ list: false, inspector: false, link: null, set: (change) => set(change) }))
