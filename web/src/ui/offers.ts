/** What the view on show offers to ⌘K, beside what is always there. */
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

/** Finds what fits some words, where there is too much of it to list: the turns of a conversation. */
export interface Finder {
  /** At once, in what is loaded. */
  here: (words: string) => readonly Found[]
  /** In all of it; `more` where there are more than these. */
  everywhere: (words: string, signal: AbortSignal) => Promise<{ found: readonly Found[]; more: boolean }>
}

export const useOffered = create<{ offers: readonly Offer[]; finder: Finder | null }>(() => ({ offers: [], finder: null }))

/** Offers what a search finds while the component is there. */
export function useFinder(finder: Finder): void {
  useEffect(() => {
    useOffered.setState({ finder })
    return () => useOffered.setState(({ finder: now }) => ({ finder: now === finder ? null : now }))
  }, [finder])
}

/** Offers these while the component is there. */
export function useOffers(offers: readonly Offer[]): void {
  useEffect(() => {
    useOffered.setState({ offers })
    return () => useOffered.setState(({ offers: now }) => ({ offers: now === offers ? [] : now }))
  }, [offers])
}
