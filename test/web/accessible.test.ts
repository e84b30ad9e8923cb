// Every scene that there is, in every look: nothing that axe finds, nothing too wide, nothing that the browser complains of.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { needs } from '../harness/tools.ts';
import { openWebHouse, type WebHouse } from './house.ts';
import { expectFit } from './looks.ts';
import { scenes } from './scenes.ts';

describe.skipIf(needs('Chromium'))('each page can be read and used by everybody', () => {
  let house: WebHouse;
  beforeAll(async () => {
    house = await openWebHouse();
  }, 120_000);
  afterAll(() => house.close(), 60_000);

  it.each(scenes)('$name', { timeout: 120_000 }, async ({ name, person, path, before, act, refusals = [] }) => {
    await before?.(house.ops);
    const isExpected = (complaint: string) =>
      refusals.some(
        (status) =>
          complaint.startsWith(`${status} `) || complaint.includes(`the server responded with a status of ${status}`),
      );
    const look = async (width: number) => {
      const { page, context, complaints } = await house.visit(person, path, { width, isStill: true });
      await page.waitForLoadState('networkidle');
      await act?.(page);
      if (width === 1280) await expectFit(page, name);
      await context.close();
      return complaints.filter((one) => !isExpected(one));
    };
    for (const width of [1280, 360]) {
      let complaints = await look(width);
      // What moves moves each time; what came in two pieces because the machine was busy does not.
      if (complaints.some((one) => one.includes('layout shift'))) complaints = await look(width);
      expect({ width, complaints }).toEqual({ width, complaints: [] });
    }
  });
});
