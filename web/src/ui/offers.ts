/** The entries that the current view adds to ⌘K. */
import { useEffect } from 'react'
import { create } from 'zustand'

export interface Offer {
  label: string
  run: () => void
}

export interface Found extends Offer {
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

export const useOffered = create<{ offers: readonly Offer[]; finder: Finder | null }>(() => ({ offers: [], finder: null }))

/** Offers the matches of a search while the component is mounted. */
export function useFinder(finder: Finder): void {
  useEffect(() => {
    useOffered.setState({ finder })
    return () => useOffered.setState(({ finder: now }) => ({ finder: now === finder ? null : now }))
  }, [finder])
}

/** Offers these entries while the component is mounted. */
export function useOffers(offers: readonly Offer[]): void {
  useEffect(() => {
    useOffered.setState({ offers })
    return () => useOffered.setState(({ offers: now }) => ({ offers: now === offers ? [] : now }))
  }, [offers])
}
