// promptfoo: an evaluation whose tests are the turns of one conversation.
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

Object.assign(process.env, {
  PROMPTFOO_CONFIG_DIR: mkdtempSync(join(tmpdir(), 'promptfoo-')),
  PROMPTFOO_DISABLE_TELEMETRY: '1',
  PROMPTFOO_DISABLE_UPDATE: '1',
  PROMPTFOO_DISABLE_REMOTE_GENERATION: '1',
  PROMPTFOO_CACHE_ENABLED: 'false',
  LOG_LEVEL: 'error',
})

const { apiKey, baseURL, model, hold } = await import('./conversation.mjs')
const promptfoo = (await import('promptfoo')).default

const PROMPT = `[
{% for turn in _conversation %}
  {"role": "user", "content": {{ turn.input | dump }}},
  {"role": "assistant", "content": {{ turn.output | dump }}},
{% endfor %}
  {"role": "user", "content": {{ text | dump }}}
]`

const talk = (provider) => async (texts) => {
  const evaluation = await promptfoo.evaluate(
    {
      prompts: [PROMPT],
      providers: [{ id: `${provider}:${model}`, config: { apiBaseUrl: baseURL, apiKey } }],
      tests: texts.map((text) => ({ vars: { text }, metadata: { conversationId: texts[0] } })),
      writeLatestResults: false,
    },
    { maxConcurrency: 1, cache: false, showProgressBar: false },
  )
  const { results } = await evaluation.toEvaluateSummary()
  return results.map((result) => {
    if (result.error) throw new Error(result.error)
    return result.response.output
  })
}

await hold({ chat: talk('openai:chat'), responses: talk('openai:responses') })
process.exit(0)
