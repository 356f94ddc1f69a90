/** The entries that the current view adds to ⌘K. */
import { useEffect } from 'react'
import { create } from 'zustand'

export interface ViewCommand {
  label: string
  run: () => void
}

export interface Found extends ViewCommand {
  id: string
  index: number
}

/** A search in what is too long to list: the turns of a conversation. */
export interface Finder {
  /** Searches what is loaded, synchronously. */
  here: (words: string) => readonly Found[]
  /** Searches everything; `more` is true if there are further matches. */
  everywhere: (words: string, signal: AbortSignal) => Promise<{ found: readonly Found[]; more: boolean }>
}

export const useViewCommands = create<{ viewCommands: readonly ViewCommand[]; finder: Finder | null }>(() => ({ viewCommands: [], finder: null }))

/** Offers the matches of a search while the component is mounted. */
export function useFinder(finder: Finder): void {
  useEffect(() => {
    useViewCommands.setState({ finder })
    return () => useViewCommands.setState(({ finder: now }) => ({ finder: now === finder ? null : now }))
  }, [finder])
}

/** Offers these entries while the component is mounted. */
export function useAddViewCommands(viewCommands: readonly ViewCommand[]): void {
  useEffect(() => {
    useViewCommands.setState({ viewCommands })
    return () => useViewCommands.setState(({ viewCommands: now }) => ({ viewCommands: now === viewCommands ? [] : now }))
  }, [viewCommands])
}
