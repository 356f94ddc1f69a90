/**
 * Places for streams. Over HTTP/1.1 a browser opens six connections to a host, and further ones wait silently. So the
 * tabs of a browser share four places, held as Web Locks, and a tab without one polls instead.
 */

const PLACES = 4

export type Release = () => void

/** A place, or null when all are taken. Without Web Locks (no secure context) every tab gets a place. */
export async function takePlace(locks: LockManager | undefined = globalThis.navigator?.locks): Promise<Release | null> {
  if (!locks) return () => undefined
  for (let place = 0; place < PLACES; place += 1) {
    const release = await new Promise<Release | null>((taken) => {
      void locks.request(`playhead-stream-${place}`, { ifAvailable: true }, (lock) => {
        if (!lock) return taken(null)
        return new Promise<void>((done) => taken(done))
      })
    })
    if (release) return release
  }
  return null
}
