/** What the view on show offers to ⌘K, beside what is always there. */
import { useEffect } from 'react'
import { create } from 'zustand'

export interface Offer {
  label: string
  run: () => void
}

export const useOffered = create<{ offers: readonly Offer[] }>(() => ({ offers: [] }))

/** Offers these while the component is there. */
export function useOffers(offers: readonly Offer[]): void {
  useEffect(() => {
    useOffered.setState({ offers })
    return () => useOffered.setState(({ offers: now }) => ({ offers: now === offers ? [] : now }))
  }, [offers])
}
