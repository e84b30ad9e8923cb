// A third of the random histories of test/billing/order.ts: each file has a process, a database and a Stripe of its own.
import { it } from 'vitest';
import { tellInAnyOrder } from './order.ts';

it(
  'the order in which news of Stripe arrives changes nothing, 2 of 3 (spec 6.4)',
  () => tellInAnyOrder(170, 2),
  10_800_000,
);
