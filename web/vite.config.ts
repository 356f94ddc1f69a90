import { fileURLToPath } from 'node:url'
import tailwind from '@tailwindcss/vite'
import react from '@vitejs/plugin-react'
import { defineConfig } from 'vitest/config'
import { budget, compressed } from './scripts/build.ts'

/** Where the built page goes: into the package that serves it. */
const OUTPUT = '../api/page/built'

/** The API that the development and preview servers stand in front of. */
const API = process.env.PLAYHEAD_API_URL ?? 'http://127.0.0.1:8080'
const proxy = Object.fromEntries(['/v1', '/healthz', '/readyz', '/openapi.json'].map((path) => [path, { target: API }]))

/** What the API sends with the page; the preview sends it too, so that nothing is built that it would forbid. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; " +
  "form-action 'none'; frame-ancestors 'none'"

export default defineConfig({
  plugins: [react(), tailwind(), compressed(), budget()],
  resolve: { alias: { '@': fileURLToPath(new URL('./src', import.meta.url)) } },
  server: { host: '127.0.0.1', proxy },
  preview: { host: '127.0.0.1', proxy, headers: { 'content-security-policy': POLICY } },
  build: { outDir: OUTPUT, emptyOutDir: true, target: 'es2022', assetsInlineLimit: 0, modulePreload: { polyfill: false } },
  test: { environment: 'node', include: ['src/**/*.test.ts', 'tests/**/*.test.ts'] },
})
