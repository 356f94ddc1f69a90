/** The settings of this browser: theme, lists, clock, keyboard, Markdown, API key. */
import type { ReactNode } from 'react'
import { useAuth } from '../api/client.ts'
import { useAbout } from '../sessions/queries.ts'
import { Button } from '../ui/controls.tsx'
import { useTitle } from '../ui/states.tsx'
import { zone } from '../words.ts'
import { usePreferences, type Preferences } from './preferences.ts'

export function Settings() {
  useTitle('Settings')
  const preferences = usePreferences()
  const { key, forget } = useAuth()
  const about = useAbout()
  return (
    <main id="main" className="min-h-0 flex-1 overflow-auto">
      <div className="mx-auto flex max-w-xl flex-col gap-6 p-4 sm:p-8">
        <h1 className="text-title font-semibold">Settings</h1>
        <Choice name="Theme" value={preferences.theme} options={{ system: 'As the system', light: 'Light', dark: 'Dark' }} change={(theme) => preferences.set({ theme })} />
        <Choice name="Lists" value={preferences.density} options={{ normal: 'Roomy', dense: 'Dense' }} change={(density) => preferences.set({ density })} />
        <Choice name="Clock" value={preferences.clock} options={{ local: `Local (${zone()})`, utc: 'UTC' }} change={(clock) => preferences.set({ clock })} />
        <Check label="Single letters are keys" detail="Switch it off if a screen reader or speech input needs them." checked={preferences.singleKeys} change={(singleKeys) => preferences.set({ singleKeys })} />
        <Check label="Show Markdown" detail="Replies with Markdown are formatted. A voice would read the signs." checked={preferences.markdown} change={(markdown) => preferences.set({ markdown })} />
        <section>
          <h2 className="font-medium">Key</h2>
          <p className="text-list text-muted">{key ? 'A key is kept in this browser.' : 'No key is kept.'}</p>
          <div className="mt-2 flex gap-2">
            <Button onClick={() => useAuth.setState({ keyRequired: true })}>{key ? 'Change the key' : 'Enter a key'}</Button>
            {key && <Button onClick={forget}>Forget it</Button>}
          </div>
        </section>
        {about.data && (
          <section className="text-list text-muted">
            <h2 className="font-medium text-text">Playhead {about.data.version}</h2>
            <p>Organization {about.data.organization}</p>
            <p>Model {about.data.default_model}</p>
          </section>
        )}
      </div>
    </main>
  )
}

type Choices = { [Name in 'theme' | 'density' | 'clock']: Preferences[Name] }

function Choice<Value extends Choices[keyof Choices]>({ name, value, options, change }: { name: string; value: Value; options: Record<Value, string>; change: (value: Value) => void }) {
  return (
    <fieldset>
      <legend className="mb-1 font-medium">{name}</legend>
      <div className="flex flex-wrap gap-4">
        {(Object.entries(options) as [Value, string][]).map(([each, words]) => (
          <label key={each} className="target flex items-center gap-2 text-list">
            <input type="radio" name={name} checked={each === value} onChange={() => change(each)} />
            {words}
          </label>
        ))}
      </div>
    </fieldset>
  )
}

function Check({ label, detail, checked, change }: { label: ReactNode; detail: string; checked: boolean; change: (checked: boolean) => void }) {
  return (
    <label className="flex items-start gap-2">
      <input type="checkbox" checked={checked} onChange={(event) => change(event.target.checked)} className="mt-1" />
      <span>
        <span className="font-medium">{label}</span>
        <span className="block text-list text-muted">{detail}</span>
      </span>
    </label>
  )
}
