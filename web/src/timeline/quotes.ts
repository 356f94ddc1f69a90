/** Words that a judge quotes from a conversation, and their places in a text. */
import type { SuiteRun } from '../api/types.ts'

type Judged = Pick<SuiteRun, 'criteria'>

/** Shorter words in quotation marks are mostly names, not quotes of a turn. */
const SHORTEST = 4
const IN_MARKS = /"([^"]+)"|“([^”]+)”/g

/** The words quoted against a run, by turn. Quotes that a judge wrote only in its reason count too. */
export function quotedWords(run: Judged): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>()
  const note = (turn: string, words: string): void => {
    const known = found.get(turn) ?? []
    if (!known.includes(words)) found.set(turn, [...known, words])
  }
  for (const criterion of run.criteria) {
    if (criterion.outcome === 'passed') continue
    // An older API returns no quotes.
    const quotes = (criterion as Partial<typeof criterion>).quotes ?? []
    for (const { turn_id, text } of quotes) note(turn_id, text)
    if (quotes.length > 0) continue
    for (const [, straight, curly] of criterion.reason.matchAll(IN_MARKS)) {
      const words = (straight ?? curly ?? '').trim()
      if (words.length >= SHORTEST) for (const turn of criterion.turn_ids) note(turn, words)
    }
  }
  return found
}

export interface Piece {
  text: string
  marked: boolean
}

/** Splits a text into pieces and marks every place of the given words; places that touch or overlap are merged. */
export function markedPieces(text: string, words: readonly string[]): Piece[] {
  const places: [number, number][] = []
  for (const each of words) {
    if (each === '') continue
    for (let at = text.indexOf(each); at !== -1; at = text.indexOf(each, at + each.length)) places.push([at, at + each.length])
  }
  places.sort(([a], [b]) => a - b)
  const pieces: Piece[] = []
  let done = 0
  for (let index = 0; index < places.length; ) {
    const [from, first] = places[index] ?? [0, 0]
    let to = first
    for (index += 1; index < places.length && (places[index]?.[0] ?? 0) <= to; index += 1) to = Math.max(to, places[index]?.[1] ?? 0)
    if (from > done) pieces.push({ text: text.slice(done, from), marked: false })
    pieces.push({ text: text.slice(from, to), marked: true })
    done = to
  }
  if (done < text.length || pieces.length === 0) pieces.push({ text: text.slice(done), marked: false })
  return pieces
}
