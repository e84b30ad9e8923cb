import { analytics } from './analytics.ts';
import { anonymous } from './anonymous.ts';
import { billing } from './billing.ts';
import { charging } from './charging.ts';
import { contract } from './contract.ts';
import { money } from './money.ts';
import type { Room } from './place.ts';
import { sessions } from './sessions.ts';
import { throttle } from './throttle.ts';

/** All of them, in the order of their numbers. */
export const rooms: readonly Room[] = [money, charging, sessions, contract, analytics, throttle, billing, anonymous];
