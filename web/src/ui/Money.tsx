/** An amount: short to read, exact under the pointer. */
import { exactly, shown, type Amount } from '../timeline/money.ts'
import { join } from './controls.tsx'

/** `places` are the decimals of the column that it stands in. */
export function Money({ amount, places, className }: { amount: Amount; places?: number; className?: string }) {
  return (
    <span title={exactly(amount)} className={join('whitespace-nowrap text-money', className)}>
      {shown(amount, places)}
    </span>
  )
}
