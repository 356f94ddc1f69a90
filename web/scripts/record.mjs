/**
 * Records event logs of real sessions as fixtures of the timeline's tests.
 *
 *   node scripts/record.mjs http://127.0.0.1:8080     (a `playhead dev` behind scripts/slow-model.mjs)
 *
 * Each recording is one JSON file: the log as it is replayed from the start, and what the API says of the same session.
 */
import { mkdirSync, writeFileSync } from 'node:fs'

const API = process.argv[2] ?? 'http://127.0.0.1:8080'
const FOLDER = new URL('../tests/fixtures/', import.meta.url)

async function call(method, path, body) {
  const response = await fetch(API + path, {
    method,
    headers: body === undefined ? {} : { 'content-type': 'application/json' },
    body: body === undefined ? undefined : JSON.stringify(body),
  })
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`)
  return response.status === 204 ? null : response.json()
}

const open = (more = {}) => call('POST', '/v1/sessions', { agent: 'booking-line', initial_context: { first_name: 'Ada' }, ...more })
const say = (id, text, more = {}, query = '') => call('POST', `/v1/sessions/${id}/messages${query}`, { text, ...more })
const session = (id) => call('GET', `/v1/sessions/${id}`)
const turn = async (id, at) => (await session(id)).turns.at(at).id
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** Every durable event of an ended session, by replay from the start. */
async function log(id) {
  const response = await fetch(`${API}/v1/sessions/${id}/events`, { headers: { 'last-event-id': '0' } })
  const text = await response.text()
  return text
    .split('\n\n')
    .map((block) => Object.fromEntries(block.split('\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)])))
    .filter((fields) => fields.event)
    .map((fields) => ({ id: fields.id ? Number(fields.id) : null, type: fields.event, data: JSON.parse(fields.data) }))
}

async function record(name, story) {
  const { id } = await open()
  await story(id)
  const before = await session(id)
  await call('POST', `/v1/sessions/${id}/end`, {})
  await pause(3_000)
  const after = await session(id)
  const branches = (await call('GET', `/v1/sessions/${id}/branches?limit=200`)).items
  const ledger = (await call('GET', `/v1/usage/ledger?session=${id}&limit=200`)).items
  const hostless = (told) => ({ ...told, temporal: { ...told.temporal, ui_url: null } })
  const recording = { log: await log(id), before: hostless(before), after: hostless(after), branches, ledger }
  mkdirSync(FOLDER, { recursive: true })
  writeFileSync(new URL(`${name}.json`, FOLDER), `${JSON.stringify(recording)}\n`)
  console.log(`${name}: ${recording.log.length} events`)
}

await record('branches', async (id) => {
  await say(id, 'A table for four on Friday, please.')
  await say(id, 'At half past seven.')
  await say(id, 'My name is Lovelace.')
  await call('POST', `/v1/sessions/${id}/rewind`, { turn_id: await turn(id, 1) })
  await say(id, 'At eight.')
  await say(id, 'My name is Byron.')
  await call('POST', `/v1/sessions/${id}/turns/${await turn(id, 3)}/edit`, { text: 'My name is Babbage.' })
  const [{ id: branch }] = (await call('GET', `/v1/sessions/${id}/branches`)).items
  await call('POST', `/v1/sessions/${id}/branches/${branch}/restore`, {})
  await call('POST', `/v1/sessions/${id}/turns/${await turn(id, -1)}/regenerate`, {})
})

await record('barge-in', async (id) => {
  await say(id, 'Tell me slowly.', {}, '?wait=false')
  await pause(2_000)
  await say(id, 'Stop, one thing first.', { on_busy: 'interrupt' })
  await say(id, 'Now slowly again.', {}, '?wait=false')
  await pause(2_000)
  await call('POST', `/v1/sessions/${id}/cancel`, {})
  await say(id, 'And slowly once more.', {}, '?wait=false')
  await pause(1_500)
  await say(id, 'Never mind.', { on_busy: 'rollback' })
})

await record('rewound', async (id) => {
  await say(id, 'I would like to book a table.')
  await say(id, 'For four.')
  await say(id, 'On Friday.')
  await call('POST', `/v1/sessions/${id}/rewind`, { turn_id: await turn(id, 2) })
  await call('POST', `/v1/sessions/${id}/rewind`, { turn_id: null })
  await call('POST', `/v1/sessions/${id}/rewind`, { turn_id: await turn(id, 1), before: true })
})

await record('failure', async (id) => {
  await say(id, 'Please fail now.').catch((error) => console.log(`expected: ${error.message.slice(0, 90)}`))
  await say(id, 'Do you have parking?')
})
