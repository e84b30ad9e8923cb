// Pictures of pages for whoever wants to see them: `node test/web/look.ts DIRECTORY [WORD…]`, those whose names have one of the
// words; with `--readme` those that the README shows, at the width of a desk (`npm run pictures`).
import { mkdirSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { openWebHouse } from './house.ts';
import { scenes } from './scenes.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { readme: { type: 'boolean', default: false } },
});
const [directory = '.', ...words] = positionals;
mkdirSync(directory, { recursive: true });
const house = await openWebHouse();
for (const { name, person, path, before, act, isShown = false } of scenes) {
  if (values.readme && !isShown) continue;
  if (words.length > 0 && !words.some((word) => name.includes(word))) continue;
  await before?.(house.ops);
  for (const width of values.readme ? [1280] : [360, 1280]) {
    for (const scheme of ['light', 'dark'] as const) {
      const { page, context, complaints } = await house.visit(person, path, { width, scheme, isStill: true });
      try {
        await page.waitForLoadState('networkidle');
        await act?.(page);
        await page.waitForTimeout(300);
      } catch (error) {
        console.log(`${name} ${width} ${scheme}: ${error}`);
      }
      await page.screenshot({ path: `${directory}/${name}-${width}-${scheme}.png` });
      const wide = await page.evaluate(
        () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
      );
      if (wide > 0) console.log(`${name} ${width}: ${wide} pixels too wide`);
      if (complaints.length > 0) console.log(name, width, scheme, complaints);
      await context.close();
    }
  }
}
await house.close();
process.exit();
