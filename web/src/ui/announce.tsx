/** The live regions of the page for screen readers: a polite one for replies, an urgent one for errors. */
import { create } from 'zustand'

interface Announcements {
  polite: string
  urgent: string
}

const useAnnouncements = create<Announcements>(() => ({ polite: '', urgent: '' }))

export const announce = (words: string): void => useAnnouncements.setState({ polite: words })
export const warn = (words: string): void => useAnnouncements.setState({ urgent: words })

export function Announcer() {
  const { polite, urgent } = useAnnouncements()
  return (
    <>
      <div role="status" aria-live="polite" data-region="polite" className="sr-only">
        {polite}
      </div>
      <div role="alert" data-region="urgent" className="sr-only">
        {urgent}
      </div>
    </>
  )
}
