/** Every route of the page, with its search parameters. */
import { createRootRoute, createRoute, createRouter, lazyRouteComponent, Link, redirect } from '@tanstack/react-router'
import type { SessionSearch, TabId } from './conversation/selection.ts'
import { NewSession } from './sessions/NewSession.tsx'
import type { ListFilter } from './sessions/queries.ts'
import { SessionPage } from './sessions/SessionPage.tsx'
import { NothingOpen, SessionsPage } from './sessions/SessionsPage.tsx'
import { Settings } from './settings/Settings.tsx'
import { Frame } from './ui/Frame.tsx'
import { Empty, Loading, ProblemNote } from './ui/states.tsx'

type Raw = Record<string, unknown>

const text = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined)
const kept = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined)
const whole = (value: unknown): number | undefined => (typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : typeof value === 'number' ? value : undefined)
const oneOf = <Choice extends string>(value: unknown, choices: readonly Choice[]): Choice | undefined => choices.find((choice) => choice === value)

/** Drops what is not set, so that a URL has only what differs from the defaults. */
function only<Search extends object>(search: Search): Search {
  return Object.fromEntries(Object.entries(search).filter(([, value]) => value !== undefined)) as Search
}

const TABS: readonly TabId[] = ['why', 'graph', 'variables', 'cost', 'events', 'raw']

const root = createRootRoute({
  component: Frame,
  notFoundComponent: () => (
    <main id="main" className="flex-1">
      <Empty title="There is nothing here">
        <Link to="/sessions" className="text-accent underline">
          To the sessions
        </Link>
      </Empty>
    </main>
  ),
})

const home = createRoute({
  getParentRoute: () => root,
  path: '/',
  beforeLoad: () => {
    throw redirect({ to: '/sessions' })
  },
})

const sessions = createRoute({
  getParentRoute: () => root,
  path: '/sessions',
  validateSearch: (raw: Raw): ListFilter =>
    only({
      status: text(raw['status']),
      agent: text(raw['agent']),
      version: whole(raw['version']),
      suite: text(raw['suite']),
      since: text(raw['since']),
      q: text(raw['q']),
      model: text(raw['model']),
      purpose: text(raw['purpose']),
      from: text(raw['from']),
      to: text(raw['to']),
    }),
  component: SessionsPage,
})

const nothingOpen = createRoute({ getParentRoute: () => sessions, path: '/', component: NothingOpen })

export interface NewSearch {
  agent?: string
  version?: number
  [context: `ctx.${string}`]: string
}

const newSession = createRoute({
  getParentRoute: () => sessions,
  path: 'new',
  validateSearch: (raw: Raw): NewSearch =>
    only({
      agent: text(raw['agent']),
      version: whole(raw['version']),
      ...Object.fromEntries(Object.entries(raw).flatMap(([name, value]) => (name.startsWith('ctx.') ? [[name, String(value)]] : []))),
    }),
  component: NewSession,
})

const session = createRoute({
  getParentRoute: () => sessions,
  path: '$id',
  validateSearch: (raw: Raw): SessionSearch =>
    only({
      turn: text(raw['turn']),
      branch: text(raw['branch']),
      tab: oneOf(raw['tab'], TABS),
      step: whole(raw['step']),
      find: kept(raw['find']),
      quoted: text(raw['quoted']),
    }),
  component: SessionPage,
})

const branches = createRoute({
  getParentRoute: () => sessions,
  path: '$id/branches',
  validateSearch: (raw: Raw): { turn?: string } => only({ turn: text(raw['turn']) }),
  component: lazyRouteComponent(() => import('./branches/Branches.tsx'), 'Branches'),
})

export interface CompareSearch {
  a?: string
  b?: string
  sync?: boolean
  diff?: 'words' | 'none'
  turn?: string
  /** A suite of replays: `b` is one of its runs. */
  suite?: string
  /** The outcome of the run that is replayed. */
  was?: string
}

const compare = createRoute({
  getParentRoute: () => root,
  path: '/compare',
  validateSearch: (raw: Raw): CompareSearch =>
    only({
      a: text(raw['a']),
      b: text(raw['b']),
      sync: raw['sync'] === undefined ? undefined : raw['sync'] === true || raw['sync'] === '1' || raw['sync'] === 'true',
      diff: oneOf(raw['diff'], ['words', 'none'] as const),
      turn: text(raw['turn']),
      suite: text(raw['suite']),
      was: text(raw['was']),
    }),
  component: lazyRouteComponent(() => import('./compare/Compare.tsx'), 'Compare'),
})

const agents = createRoute({ getParentRoute: () => root, path: '/agents', component: lazyRouteComponent(() => import('./agents/AgentList.tsx'), 'AgentList') })
const newAgent = createRoute({ getParentRoute: () => root, path: '/agents/new', component: lazyRouteComponent(() => import('./agents/NewAgent.tsx'), 'NewAgent') })
const agent = createRoute({
  getParentRoute: () => root,
  path: '/agents/$name',
  validateSearch: (raw: Raw): { version?: number; against?: number; node?: string } =>
    only({ version: whole(raw['version']), against: whole(raw['against']), node: text(raw['node']) }),
  component: lazyRouteComponent(() => import('./agents/AgentPage.tsx'), 'AgentPage'),
})

const suites = createRoute({
  getParentRoute: () => root,
  path: '/suites',
  validateSearch: (raw: Raw): { agent?: string; version?: number } => only({ agent: text(raw['agent']), version: whole(raw['version']) }),
  component: lazyRouteComponent(() => import('./suites/SuiteList.tsx'), 'SuiteList'),
})
const newSuite = createRoute({ getParentRoute: () => root, path: '/suites/new', component: lazyRouteComponent(() => import('./suites/NewSuite.tsx'), 'NewSuite') })

export interface SuiteSearch {
  view?: 'wall' | 'table'
  outcome?: 'passed' | 'failed' | 'inconclusive'
  reason?: string
  scenario?: string
  run?: string
  turn?: string
  baseline?: string
}

const suite = createRoute({
  getParentRoute: () => root,
  path: '/suites/$id',
  validateSearch: (raw: Raw): SuiteSearch =>
    only({
      view: oneOf(raw['view'], ['wall', 'table'] as const),
      outcome: oneOf(raw['outcome'], ['passed', 'failed', 'inconclusive'] as const),
      reason: text(raw['reason']),
      scenario: text(raw['scenario']),
      run: text(raw['run']),
      turn: text(raw['turn']),
      baseline: text(raw['baseline']),
    }),
  component: lazyRouteComponent(() => import('./suites/SuitePage.tsx'), 'SuitePage'),
})

export const USAGE_BY = ['day', 'agent', 'model', 'purpose'] as const
export type UsageBy = (typeof USAGE_BY)[number]
export interface UsageSearch {
  from?: string
  to?: string
  by?: UsageBy
}

const usage = createRoute({
  getParentRoute: () => root,
  path: '/usage',
  validateSearch: (raw: Raw): UsageSearch => only({ from: text(raw['from']), to: text(raw['to']), by: oneOf(raw['by'], USAGE_BY) }),
  component: lazyRouteComponent(() => import('./usage/Usage.tsx'), 'Usage'),
})

const settings = createRoute({ getParentRoute: () => root, path: '/settings', component: Settings })

/** Plain query strings: `?turn=turn_1&sync=1`, not JSON, so that a person can write one. */
export const parseSearch = (query: string): Raw => Object.fromEntries(new URLSearchParams(query))

export function stringifySearch(search: Raw): string {
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(search)) {
    if (value === undefined || value === null) continue
    query.set(name, value === true ? '1' : value === false ? '0' : String(value))
  }
  const written = query.toString().replaceAll('%40', '@').replaceAll('%2C', ',')
  return written ? `?${written}` : ''
}

export const router = createRouter({
  routeTree: root.addChildren([
    home,
    sessions.addChildren([nothingOpen, newSession, session, branches]),
    compare,
    agents,
    newAgent,
    agent,
    suites,
    newSuite,
    suite,
    usage,
    settings,
  ]),
  parseSearch,
  stringifySearch,
  defaultPreload: 'intent',
  defaultPendingMs: 150,
  defaultPendingComponent: () => <Loading rows={6} />,
  defaultErrorComponent: ({ error, reset }) => <ProblemNote error={error} retry={reset} />,
})

declare module '@tanstack/react-router' {
  interface Register {
    router: typeof router
  }
}
