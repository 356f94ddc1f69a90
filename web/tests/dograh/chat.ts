/**
 * One conversation through dograh's own client, with the types of this API's OpenAPI document. A test of the API
 * compiles and runs it, and sets PLAYHEAD_API_URL, PLAYHEAD_API_KEY and the number of a workflow; the output is JSON.
 */
import { ApiError, DograhClient } from '@dograh/sdk'
import type { components } from '../../src/api/schema'

type Forms = components['schemas']
type TextSession = Forms['TextSession']

/** The text chat routes, which dograh's client reaches through its own request. */
class TextChats extends DograhClient {
  open(workflow: number, json: Partial<Forms['CreateBody']>): Promise<TextSession> {
    return this.request('POST', `/workflow/${workflow}/text-chat/sessions`, { json })
  }

  read({ workflow_id, workflow_run_id }: TextSession): Promise<TextSession> {
    return this.request('GET', `/workflow/${workflow_id}/text-chat/sessions/${workflow_run_id}`)
  }

  send(chat: TextSession, json: Forms['MessageBody']): Promise<TextSession> {
    return this.command(chat, 'messages', json)
  }

  rewind(chat: TextSession, json: Forms['TextSessionRewind']): Promise<TextSession> {
    return this.command(chat, 'rewind', json)
  }

  end(chat: TextSession, json: Forms['TextSessionEnd']): Promise<TextSession> {
    return this.command(chat, 'end', json)
  }

  runs(workflow: number): Promise<Forms['RunPage']> {
    return this.request('GET', `/workflow/${workflow}/runs`, { params: { page: 1, limit: 10 } })
  }

  private command(chat: TextSession, name: string, json: unknown): Promise<TextSession> {
    return this.request('POST', `/workflow/${chat.workflow_id}/text-chat/sessions/${chat.workflow_run_id}/${name}`, { json })
  }
}

const replies = (chat: TextSession): (string | null)[] => chat.session_data.turns.map((turn) => turn.assistant_message?.text ?? null)

const errorOf = async (call: Promise<unknown>): Promise<{ status: number; body: unknown }> => {
  try {
    await call
  } catch (error) {
    if (error instanceof ApiError) return { status: error.statusCode, body: error.body }
    throw error
  }
  throw new Error('the call was not rejected')
}

const number = Number(process.argv[2])
const client = new TextChats({
  baseUrl: process.env['PLAYHEAD_API_URL'] ?? '',
  apiKey: process.env['PLAYHEAD_API_KEY'] ?? '',
})

const listed = await client.listWorkflows({ status: 'active' })
const workflow = await client.getWorkflow(number)
const opened = await client.open(number, { initial_context: { time_of_day: 'evening' } })
const first = await client.send(opened, { text: 'I need a visit.', expected_revision: opened.revision })
const stale = await errorOf(client.send(first, { text: 'Hello?', expected_revision: opened.revision }))
const greeting = first.session_data.turns[0]?.id ?? null
const rewound = await client.rewind(first, { cursor_turn_id: greeting, expected_revision: first.revision })
const second = await client.send(rewound, { text: 'When are you open?', expected_revision: rewound.revision })
const ended = await client.end(second, { expected_revision: second.revision })
const late = await errorOf(client.send(ended, { text: 'Hello?' }))

console.log(
  JSON.stringify({
    listed: listed.map((each) => each.id),
    workflow: workflow.name,
    revisions: [opened, first, rewound, second, ended].map((chat) => chat.revision),
    opened: replies(opened),
    first: replies(first),
    second: replies(second),
    discarded: second.session_data.discarded_future.map((branch) => branch.turns.length),
    stale,
    late,
    state: (await client.read(ended)).state,
    runs: (await client.runs(number)).total_count,
  }),
)
