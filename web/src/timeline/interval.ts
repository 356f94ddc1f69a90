/** The range that a true rate lies in with 95 % confidence: Wilson's score interval (JASA 22, 1927). */
export function wilson(passed: number, decided: number): { low: number; high: number } | null {
  if (decided === 0) return null
  const z = 1.959963984540054
  const rate = passed / decided
  const scale = 1 + (z * z) / decided
  const middle = (rate + (z * z) / (2 * decided)) / scale
  const half = (z / scale) * Math.sqrt((rate * (1 - rate)) / decided + (z * z) / (4 * decided * decided))
  return { low: Math.max(0, middle - half), high: Math.min(1, middle + half) }
}
