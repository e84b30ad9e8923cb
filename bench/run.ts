// `npm run bench [-- NAME …] [--quick]`: prints one line per figure, `name value unit`. Own PostgreSQL, removed after.
import { parseArgs } from 'node:util';
import { measureAlerts } from './alerts.ts';
import { measureAnalytics } from './analytics.ts';
import { measureCli } from './cli.ts';
import { measureDisturbance } from './disturbance.ts';
import { measureGateway } from './gateway.ts';
import { measureGrowth } from './growth.ts';
import { measureHttp } from './http.ts';
import { measureMetrics } from './metrics.ts';
import { measurePage } from './page.ts';
import { measurePairs } from './pairs.ts';
import type { Length, Report } from './report.ts';
import { measureScale } from './scale.ts';
import { measureSearch } from './search.ts';
import { measureWebhooks } from './webhooks.ts';
import { measureScaleYear, measureYear } from './year.ts';

const benches = {
  pairs: measurePairs,
  growth: measureGrowth,
  http: measureHttp,
  webhooks: measureWebhooks,
  metrics: measureMetrics,
  analytics: measureAnalytics,
  alerts: measureAlerts,
  disturbance: measureDisturbance,
  search: measureSearch,
  cli: measureCli,
  gateway: measureGateway,
  page: measurePage,
  scale: measureScale,
  year: measureYear,
  'scale-year': measureScaleYear,
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { quick: { type: 'boolean', default: false } },
});
const unknown = positionals.filter((name) => !(name in benches));
if (unknown.length > 0) {
  console.error(`There is no bench ${unknown.join(', ')}. There are: ${Object.keys(benches).join(', ')}.`);
  process.exit(2);
}

const length: Length = values.quick ? { seconds: 4, rounds: 2, quick: true } : { seconds: 20, rounds: 5, quick: false };
const report: Report = (name, value, unit) => {
  console.log(`${name} ${Number(value.toPrecision(4))} ${unit}`);
};
for (const [name, measure] of Object.entries(benches)) {
  if (positionals.length === 0 || positionals.includes(name)) await measure(report, length);
}
