import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'

/** Contrast by WCAG 2.2, https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio */
const channel = (value: number): number => (value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)

const luminance = (hex: string): number => {
  const [r, g, b] = [1, 3, 5].map((at) => channel(Number.parseInt(hex.slice(at, at + 2), 16) / 255))
  return 0.2126 * (r ?? 0) + 0.7152 * (g ?? 0) + 0.0722 * (b ?? 0)
}

const contrast = (one: string, other: string): number => {
  const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a)
  return ((light ?? 0) + 0.05) / ((dark ?? 0) + 0.05)
}

const css = readFileSync(new URL('../src/theme.css', import.meta.url), 'utf8')
const tokens = (selector: string): Record<string, string> => {
  const block = css.slice(css.indexOf(`${selector} {`)).split('}')[0] ?? ''
  return Object.fromEntries([...block.matchAll(/--([a-z-]+): (#[0-9a-fA-F]{6})/g)].map((found) => [found[1], found[2]]))
}

const GROUNDS = ['canvas', 'surface', 'sunken', 'hover']
const WORDS = ['text', 'muted', 'faint', 'accent', 'ok', 'bad', 'warn', 'live', 'money']
const STATES = ['accent', 'ok', 'bad', 'warn', 'live']

describe.each([
  ['light', ':root'],
  ['dark', ":root[data-theme='dark']"],
])('%s', (_, selector) => {
  const colours = tokens(selector)
  const ratio = (front: string, back: string): number => contrast(colours[front] ?? '#000000', colours[back] ?? '#000000')

  test('has every token', () => expect(Object.keys(colours)).toHaveLength(21))

  test.each(GROUNDS.flatMap((ground) => WORDS.map((word) => [word, ground])))('%s on %s is readable', (word, ground) => {
    expect(ratio(word ?? '', ground ?? '')).toBeGreaterThanOrEqual(4.5)
  })

  test.each(STATES.flatMap((state) => [state, 'text', 'muted', 'faint'].map((word) => [word, `${state}-tint`])))(
    '%s on %s is readable',
    (word, tint) => expect(ratio(word ?? '', tint ?? '')).toBeGreaterThanOrEqual(4.5),
  )

  test('text on the accent is readable', () => expect(ratio('on-accent', 'accent')).toBeGreaterThanOrEqual(4.5))

  test.each(['canvas', 'surface', 'sunken'])('the edge of a control is seen on %s', (ground) => {
    expect(ratio('control', ground)).toBeGreaterThanOrEqual(3)
  })
})
