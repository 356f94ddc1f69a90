/** The JSON of turn and session, ids to copy, exports, and erasure. */
import { useNavigate } from '@tanstack/react-router'
import { useState } from 'react'
import { curl } from '../api/client.ts'
import { sessions } from '../api/routes.ts'
import { useCommands } from '../conversation/commands.ts'
import { EraseDialog } from '../sessions/SessionPage.tsx'
import { useSession } from '../timeline/store.ts'
import { Button } from '../ui/controls.tsx'
import { Json } from '../ui/Json.tsx'
import { CopyButton, download, Empty } from '../ui/states.tsx'
import type { TabProps } from './Inspector.tsx'

export function Raw({ store, turn }: TabProps) {
  const { id } = store.getState()
  const session = useSession(store, (state) => state.timeline.session)
  const commands = useCommands(store)
  const navigate = useNavigate()
  const [erasing, setErasing] = useState(false)
  if (!session) return <Empty title="Not loaded yet" />
  const ids = [
    ['Session', id],
    ['Turn', turn?.id],
    ['Message', turn?.user_message?.message_id],
    ['Agent', session.agent_id],
    ['Workflow', session.temporal.workflow_id],
    ['Run', session.temporal.run_id],
  ].filter((each): each is [string, string] => Boolean(each[1]))
  const curlCommand = turn?.user_message
    ? curl('POST', '/v1/sessions/{session_id}/messages', {
        path: { session_id: id },
        body: { text: turn.user_message.text, message_id: turn.user_message.message_id },
      })
    : curl('GET', '/v1/sessions/{session_id}', { path: { session_id: id } })
  const log = async (): Promise<void> => {
    await store.actions.readLog()
    const lines = store.getState().log.map((event) => JSON.stringify({ id: event.seq, type: event.type, data: event.data }))
    await download(new Response(`${lines.join('\n')}\n`), `${session.name}.events.jsonl`)
  }
  return (
    <div className="flex flex-col gap-4 p-3 text-list">
      <table>
        <tbody>
          {ids.map(([name, value]) => (
            <tr key={name}>
              <th scope="row" className="w-20 text-left font-normal text-muted">
                {name}
              </th>
              <td className="font-mono text-code break-all">{value}</td>
              <td className="w-7">
                <CopyButton text={value} label={`Copy ${name.toLowerCase()} id`} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      <div className="flex flex-wrap gap-2">
        {session.temporal.ui_url && (
          <a href={session.temporal.ui_url} target="_blank" rel="noreferrer" className="target inline-flex items-center rounded-sm border border-control px-2 hover:bg-hover">
            Open in Temporal
          </a>
        )}
        <CopyButton wide label="Copy as curl" text={curlCommand} />
      </div>
      {turn && (
        <section>
          <h3 className="mb-1 text-meta text-muted">Turn #{turn.index}</h3>
          <Json value={turn} name={turn.id} />
        </section>
      )}
      <section>
        <h3 className="mb-1 text-meta text-muted">Session</h3>
        <Json value={session} name={id} />
      </section>
      <section>
        <h3 className="mb-1 text-meta text-muted">Export</h3>
        <div className="flex flex-wrap gap-2">
          <Button onClick={() => void download(sessions.transcript(id, 'text'), `${session.name}.txt`)}>Text</Button>
          <Button onClick={() => void download(sessions.transcript(id, 'markdown'), `${session.name}.md`)}>Markdown</Button>
          <Button onClick={() => void download(sessions.transcript(id, 'json'), `${session.name}.json`)}>JSON</Button>
          <Button onClick={() => void download(sessions.transcript(id, 'jsonl'), `${session.name}.jsonl`)}>JSONL</Button>
          <Button onClick={() => void log()}>Event log</Button>
        </div>
      </section>
      <section>
        <Button look="danger" onClick={() => setErasing(true)}>
          Erase …
        </Button>
      </section>
      {erasing && (
        <EraseDialog
          name={session.name}
          close={() => setErasing(false)}
          erase={() => void commands.erase().then((done) => (done ? navigate({ to: '/sessions', search: {} }) : undefined))}
        />
      )}
    </div>
  )
}
