/**
 * A model provider that speaks slowly: OpenAI's chat protocol on loopback, words one at a time, for work on the page.
 *
 *   node scripts/slow-model.mjs 18490 &
 *   OPENAI_API_KEY=none OPENAI_BASE_URL=http://127.0.0.1:18490/v1 PLAYHEAD_MODEL=openai-chat:gpt-5-mini playhead dev
 *
 * It walks the graph by the words it hears: a transition is taken when a word of its name or condition was said.
 * "slowly" in a message makes a long reply, "markdown" a formatted one, "fail" a refusal by the provider.
 */
import { createServer } from 'node:http'

const PORT = Number(process.argv[2] ?? 18490)
const PAUSE_MS = Number(process.env.PAUSE_MS ?? 60)
const LONG =
  'Let me tell you about our house. We have cooked in Mill Street for thirty years, the menu changes every week, and in ' +
  'summer the tables stand in the courtyard under the fig tree. Dogs are welcome on the terrace. The kitchen is open until ' +
  'a quarter past ten, and whoever comes late still gets a plate of pasta. Which of these would you like to know more about?'
const FORMATTED =
  'We offer:\n\n- **Pasta** of the day\n- *Vegetarian* dishes\n\nSee [the menu](https://menu.example.com) or ask for `gluten-free`.'

const IDLE = new Set('the caller wants to a an is it or and what about with has of for if you your this that'.split(' '))
const wordsOf = (text) => text.toLowerCase().split(/[^a-z]+/).filter((word) => word.length > 3 && !IDLE.has(word))

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

function choose(request) {
  const last = request.messages.at(-1)
  if (last?.role !== 'user') return null
  const heard = new Set(wordsOf(String(last.content)))
  for (const { function: tool } of request.tools ?? []) {
    if (wordsOf(`${tool.name.replaceAll('_', ' ')} ${tool.description ?? ''}`).some((word) => heard.has(word))) {
      const names = Object.keys(tool.parameters?.properties ?? {})
      return { name: tool.name, arguments: JSON.stringify(Object.fromEntries(names.map((name) => [name, 4]))) }
    }
  }
  return null
}

function reply(request) {
  const users = request.messages.filter((message) => message.role === 'user')
  const text = String(users.at(-1)?.content ?? '')
  if (/slowly/i.test(text)) return LONG
  if (/markdown/i.test(text)) return FORMATTED
  return `Very well, I have noted that. ${text.split(/\s+/).slice(0, 6).join(' ')}: is there something else?`
}

/** The smallest object that a JSON schema allows, for extraction and judges. */
function filled(schema) {
  if (schema.enum) return schema.enum[0]
  if (schema.anyOf) return filled(schema.anyOf[0])
  if (schema.type === 'object')
    return Object.fromEntries(Object.entries(schema.properties ?? {}).map(([name, each]) => [name, filled(each)]))
  if (schema.type === 'array') return []
  if (schema.type === 'number' || schema.type === 'integer') return 4
  return schema.type === 'boolean' ? true : schema.type === 'null' ? null : 'Friday'
}

createServer(async (incoming, response) => {
  let body = ''
  for await (const part of incoming) body += part
  const request = JSON.parse(body || '{}')
  const base = { id: `chatcmpl-${Date.now()}`, object: 'chat.completion', created: Math.floor(Date.now() / 1000), model: request.model }
  if (/\bfail\b/i.test(String(request.messages?.at(-1)?.content ?? ''))) {
    response.writeHead(400, { 'content-type': 'application/json' })
    return response.end(JSON.stringify({ error: { message: 'The prompt was flagged by the provider.', type: 'invalid_request_error' } }))
  }
  const schema = request.response_format?.json_schema?.schema
  const call = schema ? null : choose(request)
  const text = schema ? JSON.stringify(filled(schema)) : call ? '' : reply(request)
  const prompt = Math.ceil(body.length / 4)
  const usage = { prompt_tokens: prompt, completion_tokens: Math.ceil((text.length || 40) / 4), total_tokens: 0, prompt_tokens_details: { cached_tokens: Math.floor(prompt / 2) } }
  usage.total_tokens = usage.prompt_tokens + usage.completion_tokens
  const tool_calls = call && [{ index: 0, id: `call_${Date.now()}`, type: 'function', function: call }]
  const finish_reason = call ? 'tool_calls' : 'stop'
  if (!request.stream) {
    response.writeHead(200, { 'content-type': 'application/json' })
    const message = { role: 'assistant', content: text || null, ...(call && { tool_calls }) }
    return response.end(JSON.stringify({ ...base, choices: [{ index: 0, message, finish_reason }], usage }))
  }
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  const send = (choice, more = {}) =>
    response.write(`data: ${JSON.stringify({ ...base, object: 'chat.completion.chunk', choices: choice ? [{ index: 0, ...choice }] : [], ...more })}\n\n`)
  await pause(4 * PAUSE_MS)
  if (call) send({ delta: { role: 'assistant', tool_calls } })
  for (const word of text.match(/\S+\s*/g) ?? []) {
    if (response.destroyed) return
    send({ delta: { role: 'assistant', content: word } })
    await pause(PAUSE_MS)
  }
  send({ delta: {}, finish_reason })
  send(null, { usage })
  response.end('data: [DONE]\n\n')
}).listen(PORT, '127.0.0.1')
