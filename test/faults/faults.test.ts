// Each fault that was seen in the reference implementation, provoked here. `npm run faults` prints what came of it.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { differsOnCluster } from '../harness/tools.ts';
import { rooms } from './list.ts';
import { openPlace, type Place } from './place.ts';

declare module 'vitest' {
  interface TaskMeta {
    /** `observed` is there once it has passed. */
    fault?: { number: number; there: string; observed?: string };
  }
}

for (const { name, faults } of rooms) {
  describe(name, () => {
    let place: Place;
    beforeAll(async () => {
      place = await openPlace();
    });
    afterAll(() => place.close());

    for (const { number, there, needsTrigger = false, ours } of faults) {
      const isLeftOut = needsTrigger && differsOnCluster('it is provoked by a trigger');
      it.skipIf(isLeftOut)(`${number}. ${there}: not here`, { timeout: 60_000 }, async ({ task }) => {
        task.meta.fault = { number, there };
        const observed = await ours(place);
        expect(await place.audit()).toEqual([]);
        task.meta.fault = { number, there, observed };
      });
    }
  });
}
