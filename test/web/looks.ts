// What holds on every page, however it is looked at: in both themes, on a telephone and at a desk.
import { AxeBuilder } from '@axe-core/playwright';
import type { Page } from 'playwright-core';
import { expect } from 'vitest';

const widths = [360, 1280] as const;
const schemes = ['light', 'dark'] as const;

/** Nothing that axe finds, and nothing wider than the window, in any look. Afterwards the page looks as before. */
export async function expectFit(page: Page, name: string): Promise<void> {
  const before = page.viewportSize();
  for (const width of widths) {
    await page.setViewportSize({ width, height: width < 600 ? 740 : 860 });
    for (const scheme of schemes) {
      await page.emulateMedia({ colorScheme: scheme, reducedMotion: 'reduce' });
      await page.evaluate(() => new Promise((settle) => requestAnimationFrame(() => requestAnimationFrame(settle))));
      // What a rule finds depends on the theme or on the width: all of them in two looks, those about colours in all.
      const isOther = (width === 360) === (scheme === 'dark');
      const axe = new AxeBuilder({ page }).setLegacyMode().options({ resultTypes: ['violations'] });
      const { violations } = await (isOther ? axe.withRules(['color-contrast', 'link-in-text-block']) : axe).analyze();
      const found = violations.map(
        ({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 200)).join(' | ')}`,
      );
      const tooWide = await page.evaluate(
        () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
      );
      expect({ name, width, scheme, found, tooWide }).toEqual({ name, width, scheme, found: [], tooWide: 0 });
    }
  }
  await page.emulateMedia({ colorScheme: 'light', reducedMotion: 'reduce' });
  if (before !== null) await page.setViewportSize(before);
}
