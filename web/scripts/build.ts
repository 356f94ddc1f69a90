/** Two steps at the end of a build: smaller twins of every text file, and a limit on what a first visit loads. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'
import type { Plugin, ResolvedConfig, Rolldown } from 'vite'

/** Limits in kB, gzipped. The first view is what `index.html` loads with all it imports statically. */
const LIMITS = { firstView: 350, css: 15, suites: 30 }

const TEXT = /\.(js|css|html|svg|json)$/

const gzipped = (content: string | Uint8Array): number => gzipSync(content, { level: 9 }).length / 1000

/** Writes `.gz` and `.br` beside every text file, so that the server never compresses. */
export function compressed(): Plugin {
  let config: ResolvedConfig
  return {
    name: 'compressed',
    apply: 'build',
    configResolved: (resolved) => {
      config = resolved
    },
    closeBundle() {
      const root = join(config.root, config.build.outDir)
      for (const name of readdirSync(root, { recursive: true, encoding: 'utf8' })) {
        if (!TEXT.test(name)) continue
        const content = readFileSync(join(root, name))
        writeFileSync(join(root, `${name}.gz`), gzipSync(content, { level: 9 }))
        writeFileSync(
          join(root, `${name}.br`),
          brotliCompressSync(content, { params: { [constants.BROTLI_PARAM_SIZE_HINT]: content.length } }),
        )
      }
    },
  }
}

/** Measures the bundle, prints the figures, and fails the build over a limit. */
export function budget(): Plugin {
  return {
    name: 'budget',
    apply: 'build',
    generateBundle(_, bundle) {
      const chunks = Object.values(bundle).filter((file): file is Rolldown.OutputChunk => file.type === 'chunk')
      const byName = new Map(chunks.map((chunk) => [chunk.fileName, chunk]))
      const reached = (chunk: Rolldown.OutputChunk, seen = new Set<string>()): Set<string> => {
        if (seen.has(chunk.fileName)) return seen
        seen.add(chunk.fileName)
        for (const name of chunk.imports) {
          const imported = byName.get(name)
          if (imported) reached(imported, seen)
        }
        return seen
      }
      const sizeOf = (names: Iterable<string>): number =>
        [...names].reduce((sum, name) => sum + gzipped(byName.get(name)?.code ?? ''), 0)

      const first = new Set(chunks.filter((chunk) => chunk.isEntry).flatMap((chunk) => [...reached(chunk)]))
      const css = Object.values(bundle)
        .filter((file): file is Rolldown.OutputAsset => file.type === 'asset' && file.fileName.endsWith('.css'))
        .reduce((sum, file) => sum + gzipped(file.source), 0)
      const suites = sizeOf(
        chunks
          .filter((chunk) => /src\/suites\/[A-Z]/.test(chunk.facadeModuleId ?? ''))
          .flatMap((chunk) => [...reached(chunk)])
          .filter((name) => !first.has(name)),
      )
      const figures = { firstView: sizeOf(first) + css, css, suites }
      const lines = Object.entries(LIMITS).map(
        ([name, limit]) => `${name} ${figures[name as keyof typeof LIMITS].toFixed(1)} of ${limit} kB`,
      )
      this.info(`budget: ${lines.join(', ')} (gzip)`)
      const over = Object.entries(LIMITS).filter(([name, limit]) => figures[name as keyof typeof LIMITS] > limit)
      if (over.length > 0) this.error(`over budget: ${lines.join(', ')}`)
    },
  }
}
