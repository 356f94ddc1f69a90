/** Exact money: picodollars in BigInt. A float never holds an amount. */
import type { Cost, LedgerRow } from '../api/types.ts'

const DIGITS = 12
const MIN_PLACES = 4
const MINUS = '−'
const ONE = 10n ** BigInt(DIGITS)

/** Picodollars of a decimal such as `0.00031` or `1e-7`. Digits beyond the twelfth are rounded half up. */
export function parse(amount: string): bigint {
  const found = /^(-?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d+))?$/.exec(amount.trim())
  if (!found || (!found[2] && !found[3])) throw new Error(`not an amount: ${amount}`)
  const [, sign, whole = '', fraction = '', exponent = '0'] = found
  const shift = DIGITS - fraction.length + Number(exponent)
  const digits = BigInt(`${whole}${fraction}` || '0')
  const scaled =
    shift >= 0 ? digits * 10n ** BigInt(shift) : (digits + (10n ** BigInt(-shift)) / 2n) / 10n ** BigInt(-shift)
  return sign === '-' ? -scaled : scaled
}

/** The decimal without trailing zeros, as the API writes it. */
export function plain(amount: bigint): string {
  const sign = amount < 0n ? '-' : ''
  const size = amount < 0n ? -amount : amount
  const fraction = (size % ONE).toString().padStart(DIGITS, '0').replace(/0+$/, '')
  return `${sign}${size / ONE}${fraction ? `.${fraction}` : ''}`
}

/** For people: cents from a dollar on, else four decimals or three significant figures, never rounded to nothing. */
export function dollars(amount: bigint): string {
  const sign = amount < 0n ? MINUS : ''
  const size = amount < 0n ? -amount : amount
  if (size === 0n) return '$0'
  if (size >= ONE) {
    const cents = (size * 100n + ONE / 2n) / ONE
    return `${sign}$${cents / 100n}.${(cents % 100n).toString().padStart(2, '0')}`
  }
  const text = size.toString().padStart(DIGITS, '0')
  const lead = text.search(/[1-9]/)
  const places = Math.min(DIGITS, Math.max(4, lead + 3))
  const unit = 10n ** BigInt(DIGITS - places)
  const rounded = (size + unit / 2n) / unit
  if (rounded >= 10n ** BigInt(places)) return `${sign}$1.00`
  const fraction = rounded.toString().padStart(places, '0')
  return `${sign}$0.${fraction.slice(0, 4)}${fraction.slice(4).replace(/0+$/, '')}`
}

/**
 * The decimals of the amounts of a column: none where all are zero, two where none is below a dollar, except zero; else
 * as many as the largest needs, at least four.
 */
export function placesOf(amounts: Iterable<bigint>): number {
  let [largest, isPart] = [0n, false]
  for (const amount of amounts) {
    const size = amount < 0n ? -amount : amount
    if (size > largest) largest = size
    if (size > 0n && size < ONE) isPart = true
  }
  if (largest === 0n) return 0
  if (!isPart) return 2
  return Math.max(MIN_PLACES, dollars(largest).split('.')[1]?.length ?? 0)
}

/** With the decimals of a column. An amount that would be rounded to zero is written as less than the smallest unit. */
export function fixed(amount: bigint, places: number): string {
  const sign = amount < 0n ? MINUS : ''
  const size = amount < 0n ? -amount : amount
  const unit = 10n ** BigInt(DIGITS - places)
  const rounded = (size + unit / 2n) / unit
  if (rounded === 0n && size > 0n) return `< ${fixed(unit, places)}`
  const scale = 10n ** BigInt(places)
  const fraction = places === 0 ? '' : `.${(rounded % scale).toString().padStart(places, '0')}`
  return `${sign}$${rounded / scale}${fraction}`
}

export const sum = (amounts: Iterable<bigint>): bigint => {
  let total = 0n
  for (const amount of amounts) total += amount
  return total
}

export interface Amount {
  value: bigint
  /** Models whose price is not known: the true amount is higher. */
  unpriced: readonly string[]
}

export const NOTHING: Amount = { value: 0n, unpriced: [] }

export const amountOf = (cost: Pick<Cost, 'total' | 'unpriced_models'>): Amount => ({
  value: parse(cost.total),
  unpriced: cost.unpriced_models,
})

export const add = (...amounts: readonly Amount[]): Amount => ({
  value: sum(amounts.map((amount) => amount.value)),
  unpriced: [...new Set(amounts.flatMap((amount) => amount.unpriced))],
})

/** `$0.0031`, or `≥ $0.0031` where a price is not known; never $0 for a paid call whose price is not known. */
export const shown = (amount: Amount, places?: number): string => {
  const written = places === undefined ? dollars(amount.value) : fixed(amount.value, places)
  if (amount.unpriced.length === 0) return written
  return amount.value === 0n ? 'unpriced' : `≥ ${written}`
}

/** To the last digit, with the models whose price is not in it. */
export const exactly = (amount: Amount): string =>
  `$${plain(amount.value)}${amount.unpriced.length > 0 ? `, and the unknown price of ${amount.unpriced.join(', ')}` : ''}`

/** The cost of a session in parts, which add up to `total`. */
export interface Spending {
  branch: Amount
  hidden: Amount
  discarded: Amount
  /** Auxiliary model calls: simulated user, judge, extraction and summary. */
  auxiliary: Amount
  auxiliaryByPurpose: ReadonlyMap<string, Amount>
  total: Amount
  byTurn: ReadonlyMap<string, Amount>
}

/**
 * Adds up the ledger by where its turns are. A row whose turn is on neither path counts as discarded: it was paid for a
 * turn of this session that is not on show.
 */
export function spending(rows: readonly LedgerRow[], visible: Iterable<string>, hidden: Iterable<string>): Spending {
  const seen = new Set(visible)
  const unseen = new Set(hidden)
  const parts = { branch: NOTHING, hidden: NOTHING, discarded: NOTHING, auxiliary: NOTHING }
  const byPurpose = new Map<string, Amount>()
  const byTurn = new Map<string, Amount>()
  for (const row of rows) {
    const amount = amountOf(row.cost)
    if (row.purpose !== 'turn') {
      parts.auxiliary = add(parts.auxiliary, amount)
      byPurpose.set(row.purpose, add(byPurpose.get(row.purpose) ?? NOTHING, amount))
      continue
    }
    const part = seen.has(row.turn_id) ? 'branch' : unseen.has(row.turn_id) ? 'hidden' : 'discarded'
    parts[part] = add(parts[part], amount)
    byTurn.set(row.turn_id, add(byTurn.get(row.turn_id) ?? NOTHING, amount))
  }
  const total = add(parts.branch, parts.hidden, parts.discarded, parts.auxiliary)
  return { ...parts, auxiliaryByPurpose: byPurpose, total, byTurn }
}
