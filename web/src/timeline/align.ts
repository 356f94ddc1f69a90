/** Aligns two conversations: the turns they share, and then pairs of turns. */
import type { Turn } from '../api/types.ts'

export interface Pair {
  a: Turn | null
  b: Turn | null
}

export interface Alignment {
  common: readonly Turn[]
  pairs: readonly Pair[]
}

/** The same turn, or one that a fork copied: a fork keeps the ids, a replayed past keeps the words. */
const same = (a: Turn, b: Turn): boolean =>
  a.id === b.id ||
  (a.user_message?.text === b.user_message?.text &&
    a.assistant_message?.text === b.assistant_message?.text &&
    a.node_id === b.node_id &&
    a.status === b.status &&
    a.status !== 'pending')

export function align(a: readonly Turn[], b: readonly Turn[]): Alignment {
  let shared = 0
  for (; shared < Math.min(a.length, b.length); shared += 1) {
    const [one, other] = [a[shared], b[shared]]
    if (!one || !other || !same(one, other)) break
  }
  const rest = Math.max(a.length, b.length) - shared
  const pairs = Array.from({ length: rest }, (_, at) => ({ a: a[shared + at] ?? null, b: b[shared + at] ?? null }))
  return { common: a.slice(0, shared), pairs }
}
