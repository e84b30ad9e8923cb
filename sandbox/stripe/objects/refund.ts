import { newId } from '../ids.ts';
import type { Charge, Refund } from '../wire.ts';
import type { World } from '../world.ts';

export type NewRefund = {
  amount: number;
  reason: Refund['reason'];
  metadata: Record<string, string>;
  status: 'succeeded' | 'pending';
};

export function buildRefund(world: World, charge: Charge, wanted: NewRefund): Refund {
  return {
    id: newId('re'),
    object: 'refund',
    amount: wanted.amount,
    balance_transaction: newId('txn'),
    charge: charge.id,
    created: world.now,
    currency: charge.currency,
    customer: charge.customer,
    customer_account: null,
    destination_details: {
      card: {
        reference: '7000000000000000',
        reference_status: 'available',
        reference_type: 'acquirer_reference_number',
        type: 'refund',
      },
      type: 'card',
    },
    metadata: wanted.metadata,
    payment_intent: charge.payment_intent,
    payment_method: charge.payment_method,
    reason: wanted.reason,
    receipt_number: null,
    source_transfer_reversal: null,
    status: wanted.status,
    transfer_reversal: null,
    ...(wanted.status === 'pending' && { pending_reason: 'processing' as const }),
  };
}
