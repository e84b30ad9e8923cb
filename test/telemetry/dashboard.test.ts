// The example dashboard and rules ask only for what a server tells: every expression is parsed by Prometheus' own grammar and
// held against a scrape.
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parser } from '@prometheus-io/lezer-promql';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { createLog } from '../../src/telemetry/log.ts';
import { createMetrics } from '../../src/telemetry/metrics.ts';
import { call, type House, openHouse } from '../http/house.ts';
import { readSamples } from './exposition.ts';

const docs = resolve(import.meta.dirname, '../../docs');
const token = 'a-token-for-prometheus';
/** What Prometheus itself adds. */
const ITS_OWN = { metrics: ['up'], labels: ['job', 'instance', 'le', '__name__'] };

type Asked = { where: string; expr: string };

/** Every text under a key `expr`, wherever it stands. */
function expressions(value: unknown, where: string): Asked[] {
  if (Array.isArray(value)) return value.flatMap((one, at) => expressions(one, `${where}[${at}]`));
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) =>
    key === 'expr' ? [{ where, expr: String(inner) }] : expressions(inner, `${where}.${key}`),
  );
}

const dashboard: unknown = JSON.parse(readFileSync(`${docs}/grafana/prpm-playground.json`, 'utf8'));
const rules: unknown = parse(readFileSync(`${docs}/prometheus/alerts.yml`, 'utf8'));
const asked = [...expressions(dashboard, 'dashboard'), ...expressions(rules, 'rules')];

type Selector = { metric: string; labels: string[] };

/** The metrics and label matchers of an expression, and the labels that it groups by. Throws where it is no PromQL. */
function readExpression({ where, expr }: Asked): { selectors: Selector[]; grouped: string[] } {
  const text = expr.replaceAll('$__rate_interval', '5m').replaceAll('$job', 'prpm');
  const selectors: Selector[] = [];
  const grouped: string[] = [];
  parser.parse(text).iterate({
    enter: (node) => {
      const source = text.slice(node.from, node.to);
      if (node.type.isError) throw new Error(`${where}: no PromQL at ${node.from}: ${text}`);
      if (node.name === 'VectorSelector') selectors.push({ metric: '', labels: [] });
      const last = selectors.at(-1);
      if (node.name === 'Identifier' && node.node.parent?.name === 'VectorSelector' && last) last.metric = source;
      if (node.name === 'LabelName' && node.node.parent?.name === 'UnquotedLabelMatcher') last?.labels.push(source);
      if (node.name === 'LabelName' && node.node.parent?.name === 'GroupingLabels') grouped.push(source);
    },
  });
  return { selectors, grouped };
}

let house: House;
let told: ReturnType<typeof readSamples>;
beforeAll(async () => {
  house = await openHouse();
  const server = await house.another({ METRICS_TOKEN: token });
  told = readSamples((await call(server.url, 'GET', '/metrics', { token })).text);
});
afterAll(() => house.close());

/** As a sample's name has it: a histogram is asked for by its parts. */
const familyOf = (metric: string) => {
  const part = /^(.*)_(bucket|sum|count)$/.exec(metric);
  const family = told.families.find(({ name }) => name === part?.[1]);
  return family?.type === 'histogram' ? family : told.families.find(({ name }) => name === metric);
};

it('the dashboard and the rules ask for something', () => {
  expect(expressions(dashboard, '')).not.toHaveLength(0);
  expect(asked.length).toBeGreaterThan(40);
});

it.each(asked)('$where is PromQL and asks for what a live server tells: $expr', (one) => {
  const { selectors } = readExpression(one);
  expect(selectors.length).toBeGreaterThan(0);
  const unknown = selectors
    .map(({ metric }) => metric)
    .filter((name) => !ITS_OWN.metrics.includes(name) && !familyOf(name));
  expect(unknown).toEqual([]);
});

it('the check itself names metrics and labels that there are not, and what is no PromQL', () => {
  const one = (expr: string) => ({ where: 'here', expr });
  const { selectors, grouped } = readExpression(one('sum by (shoe) (rate(prpm_none_total{size="9"}[5m]))'));
  expect([selectors, grouped]).toEqual([[{ metric: 'prpm_none_total', labels: ['size'] }], ['shoe']]);
  expect(familyOf('prpm_none_total')).toBeUndefined();
  expect(familyOf('prpm_http_requests_total_bucket')).toBeUndefined();
  expect(() => readExpression(one('sum(rate(prpm_runs_total[5m])'))).toThrow('no PromQL');
});

it('a counter is asked for its rate, and a gauge is not', () => {
  for (const one of asked) {
    for (const { metric } of readExpression(one).selectors) {
      if (ITS_OWN.metrics.includes(metric)) continue;
      const type = familyOf(metric)?.type;
      const isRated = new RegExp(`(rate|increase)\\(${metric}\\b`).test(one.expr);
      expect([one.expr, metric, isRated]).toEqual([one.expr, metric, type === 'counter' || type === 'histogram']);
    }
  }
});

describe('labels', () => {
  it('that are matched or grouped by are those that the metrics have', async () => {
    const labels = await labelsOfEverything();
    const wrong = asked.flatMap((one) => {
      const { selectors, grouped } = readExpression(one);
      const made = [...one.expr.matchAll(/label_replace\(.*?, "(\w+)"/g)].map(([, name = '']) => name);
      const has = (metric: string, label: string) =>
        ITS_OWN.labels.includes(label) || labels.get(metric.replace(/_(bucket|sum|count)$/, ''))?.has(label);
      const unmatched = selectors.flatMap(({ metric, labels: matched }) =>
        matched.filter((label) => !has(metric, label)).map((label) => `${metric}{${label}}`),
      );
      const ungrouped = grouped.filter(
        (label) => !made.includes(label) && !selectors.some(({ metric }) => has(metric, label)),
      );
      return [...unmatched, ...ungrouped];
    });
    expect(wrong).toEqual([]);
  });
});

/** Metrics that have counted one of everything. */
async function labelsOfEverything(): Promise<Map<string, Set<string>>> {
  const nothing = await house.database.app`select * from api.read_metrics()`;
  expect(nothing).toHaveLength(1);
  const metrics = createMetrics(
    () => Promise.reject(new Error('the live server has told what the database says')),
    createLog('silent'),
  );
  metrics.request('GET', '/healthz', 200, 5);
  metrics.runBegan();
  metrics.runEnded({
    ...{ model: 'sonnet', ending: 'completed', duration: 1, firstToken: 1, credits: 1, cost: 1 },
    tokens: { uncached: 1, cached: 1, cacheWrite: 1, output: 1 },
  });
  metrics.runRefused('throttled');
  metrics.providerFailed('openai', 'provider_error');
  metrics.stripeEvent('applied');
  metrics.stripeWork('fetch_refunds', 'done');
  const labels = new Map<string, Set<string>>();
  for (const { name, labels: has } of [...told.samples, ...readSamples(await metrics.text()).samples]) {
    const family = name.replace(/_(bucket|sum|count)$/, '');
    labels.set(family, new Set([...(labels.get(family) ?? []), ...Object.keys(has)]));
  }
  return labels;
}
