/** The names that the page uses for the forms of the API. Only this file knows what the generated ones are called. */
import type { components } from './schema.ts'
import type { BranchExtras, SessionExtras, UsageExtras } from './expected.ts'

type Forms = components['schemas']

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json }
export type JsonObject = { [name: string]: Json }

export type TurnStatus = Forms['Turn']['status']
export type TurnEvent = Omit<Forms['Turn']['events'][number], 'payload' | 'type'> & {
  type: string
  payload: JsonObject
}
export type Usage = Forms['Usage'] & UsageExtras
export type Cost = Forms['Cost']
export type Turn = Omit<Forms['Turn'], 'events' | 'usage'> & { events: TurnEvent[]; usage: Usage }
export type Branch = Omit<Forms['Branch'], 'turns' | keyof BranchExtras> & { turns: Turn[] } & BranchExtras
export type Approval = Omit<Forms['Approval'], 'arguments'> & { arguments: JsonObject }
export type SessionStatus = Forms['Session']['status']
export type SessionSummary = Omit<
  Forms['SessionSummary'],
  'initial_context' | 'gathered_context' | 'annotations' | 'simulator' | 'approvals' | keyof SessionExtras
> & {
  initial_context: JsonObject
  gathered_context: JsonObject
  annotations: JsonObject
  simulator: JsonObject | null
  approvals?: Approval[]
} & SessionExtras
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
export type Outcome = 'passed' | 'failed' | 'inconclusive'
export type OnBusy = 'reject' | 'enqueue' | 'interrupt' | 'rollback'
export type NewSession = Forms['NewSession']
export type Accepted = Forms['Accepted']

export interface Page<Item> {
  items: Item[]
  next_cursor: string | null
}
