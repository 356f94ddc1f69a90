/** The page's names for the types of the API. Only this file of the page uses the generated names. */
import type { components } from './schema.ts'

type Forms = components['schemas']

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json }
export type JsonObject = { [name: string]: Json }

export type TurnStatus = Forms['Turn']['status']
export type TurnEvent = Omit<Forms['Turn']['events'][number], 'payload' | 'type'> & {
  type: string
  payload: JsonObject
}
export type Usage = Forms['Usage'] & { first_word_seconds?: number | null }
export type Cost = Forms['Cost']
export type Turn = Omit<Forms['Turn'], 'events' | 'usage'> & { events: TurnEvent[]; usage: Usage }
/** Fields that an older API does not return; without them the page counts what it has loaded. */
type BranchFigures = 'turn_count' | 'cost' | 'head_turn_id'
export type Branch = Omit<Forms['Branch'], 'turns' | BranchFigures> & { turns: Turn[] } & Partial<Pick<Forms['Branch'], BranchFigures>>
export type Approval = Omit<Forms['Approval'], 'arguments'> & { arguments: JsonObject }
/** A call of a client tool that waits for its result. */
export type ClientCall = Omit<Forms['ClientCall'], 'arguments'> & { arguments: JsonObject }
export type SessionStatus = Forms['Session']['status']
/** Fields of a session that an older API does not return; without them the page leaves the figures out. */
type SessionFigures = 'agent_name' | 'turn_count' | 'suite_id'
export type SessionSummary = Omit<
  Forms['SessionSummary'],
  'initial_context' | 'gathered_context' | 'annotations' | 'simulator' | 'approvals' | 'client_calls' | SessionFigures
> & {
  initial_context: JsonObject
  gathered_context: JsonObject
  annotations: JsonObject
  simulator: JsonObject | null
  approvals?: Approval[]
  client_calls?: ClientCall[]
} & Partial<Pick<Forms['SessionSummary'], SessionFigures>>
export type Session = SessionSummary & { turns_before: number; turns: Turn[]; discarded_branches: Branch[] }
export type LedgerRow = Omit<Forms['LedgerRow'], 'usage'> & { usage: Usage }
export type OrganizationUsage = Omit<Forms['OrganizationUsage'], 'rows'>
export type Agent = Forms['Agent']
export type AgentDefinition = Forms['AgentDefinition']
export type AgentNode = Forms['Node']
export type Transition = Forms['Transition']
export type Suite = Forms['Suite']
export type SuiteSummary = Forms['SuiteSummary']
export type SuiteReport = Forms['SuiteReport']
export type RunReport = Forms['RunReport']
export type BaselineReport = Forms['BaselineReport']
export type Criterion = Forms['Criterion']
export type Finding = Forms['Finding']
export type SuiteRun = Forms['SuiteRun']
/** A suite as it was started, with every default filled in. */
export type SuiteDefinition = Forms['SuiteDefinition']
/** A suite to start: what is not given has its default. */
export type NewSuite = Pick<SuiteDefinition, 'name' | 'agent'> & Partial<Omit<SuiteDefinition, 'scenarios'>> & { scenarios: NewScenario[] }
export type NewScenario = Pick<Forms['Scenario'], 'id' | 'goal'> & Partial<Forms['Scenario']>
export type Step = Forms['Step']
export type StepRequest = Forms['StepRequest']
export type StepMessage = Forms['StepMessage']
/** A turn of the tree, which lists them as opened; `branch` is `active`, `hidden` or a discarded branch's id. */
export type TreeTurn = Forms['TreeTurn']
/** Usage of a day, of an agent, a model or a purpose, as `by` divides it. */
export type UsageRow = Forms['UsageRow']
export type AgentDryRun = Forms['AgentDryRun']
export type AgentVersionSummary = Forms['AgentVersionSummary']
export type About = Forms['About']
export type Outcome = 'passed' | 'failed' | 'inconclusive'
export type OnBusy = 'reject' | 'enqueue' | 'interrupt' | 'rollback'
export type NewSession = Forms['NewSession']
export type Accepted = Forms['Accepted']

export interface Page<Item> {
  items: Item[]
  next_cursor: string | null
}
