/** One node of an agent: prompt, tools, variables to extract, transitions. */
import type { AgentDefinition } from '../api/types.ts'
import { Template } from '../inspector/Prompt.tsx'
import { Badge } from '../ui/states.tsx'

export function NodeDetails({ definition, name, open }: { definition: AgentDefinition; name: string; open?: (node: string) => void }) {
  const node = definition.nodes[name]
  if (!node) return <p className="text-muted">This version has no node {name}.</p>
  return (
    <section aria-label={`Node ${name}`} className="flex flex-col gap-2 text-list">
      <h2 className="flex items-center gap-2 font-semibold">
        {name}
        {name === definition.start && <Badge kind="accent">start</Badge>}
        {node.end && <Badge kind="plain">end</Badge>}
      </h2>
      {node.greeting && (
        <div>
          <h3 className="text-meta text-muted">Greeting</h3>
          <Template text={node.greeting} />
        </div>
      )}
      {node.prompt && (
        <div>
          <h3 className="text-meta text-muted">Prompt</h3>
          <Template text={node.prompt} />
        </div>
      )}
      {(node.tools?.length ?? 0) > 0 && (
        <div>
          <h3 className="text-meta text-muted">Tools</h3>
          <p className="font-mono text-code">{node.tools?.join(', ')}</p>
        </div>
      )}
      {(node.extract?.length ?? 0) > 0 && (
        <div>
          <h3 className="text-meta text-muted">Reads</h3>
          <ul>
            {node.extract?.map((each) => (
              <li key={each.name}>
                <span className="font-mono text-code">{each.name}</span> <span className="text-muted">{each.type} {each.hint && `· ${each.hint}`}</span>
              </li>
            ))}
          </ul>
        </div>
      )}
      {(node.transitions?.length ?? 0) > 0 && (
        <div>
          <h3 className="text-meta text-muted">Goes on to</h3>
          <ul className="flex flex-col gap-1">
            {node.transitions?.map((transition) => (
              <li key={transition.name} className="rounded-sm bg-sunken px-2 py-1">
                <span className="font-mono text-code">{transition.name}</span> →{' '}
                {open ? (
                  <button type="button" className="target text-accent underline" onClick={() => open(transition.to)}>
                    {transition.to}
                  </button>
                ) : (
                  transition.to
                )}
                <span className="block text-muted">when {transition.when}</span>
                {transition.say && <span className="block">says “{transition.say}”</span>}
              </li>
            ))}
          </ul>
        </div>
      )}
    </section>
  )
}
