import { describe, expect, it } from 'vitest'
import type { SuiteRun } from '../src/api/types.ts'
import { markedPieces, quotedWords } from '../src/timeline/quotes.ts'

type Criterion = SuiteRun['criteria'][number]

const criterion = (change: Partial<Criterion>): Criterion => ({
  criterion: 'It offers nothing.',
  outcome: 'failed',
  reason: 'It did.',
  turn_ids: ['turn_1'],
  quotes: [],
  ...change,
})

describe('words that a judge quotes', () => {
  it('are listed by turn, each once, for criteria that are not met', () => {
    const quote = { turn_id: 'turn_2', text: 'a voucher' }
    const found = quotedWords({
      criteria: [
        criterion({ quotes: [quote, { turn_id: 'turn_3', text: 'Bye.' }] }),
        criterion({ outcome: 'inconclusive', quotes: [quote] }),
        criterion({ outcome: 'passed', quotes: [{ turn_id: 'turn_4', text: 'Good day' }] }),
      ],
    })
    expect([...found]).toEqual([
      ['turn_2', ['a voucher']],
      ['turn_3', ['Bye.']],
    ])
  })

  it('are taken from the reason if a judge quoted them only there', () => {
    const found = quotedWords({ criteria: [criterion({ reason: 'It says "free of charge" and “for you”, not "no".', turn_ids: ['turn_1', 'turn_2'] })] })
    expect(found.get('turn_1')).toEqual(['free of charge', 'for you'])
    expect(found.get('turn_2')).toEqual(['free of charge', 'for you'])
  })
})

describe('a text with words marked', () => {
  const written = (text: string, ...words: string[]): string =>
    markedPieces(text, words)
      .map((piece) => (piece.marked ? `[${piece.text}]` : piece.text))
      .join('')

  it('keeps every letter', () => {
    expect(written('We offer a voucher, a voucher.', 'a voucher')).toBe('We offer [a voucher], [a voucher].')
    expect(written('all of it', 'all of it')).toBe('[all of it]')
    expect(written('nothing here', 'voucher', '')).toBe('nothing here')
    expect(written('', 'voucher')).toBe('')
  })

  it('marks places that overlap as one', () => {
    expect(written('one two three four', 'two three', 'three four', 'three')).toBe('one [two three four]')
    expect(written('aaaa', 'aa')).toBe('[aaaa]')
  })
})
