// Revenue, cost and margin: of a month, over time, and by what they come from.
import { Badge, Group, NativeSelect, SegmentedControl, Text } from '@mantine/core';
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { Chart, MOST_LINES } from '../admin/charts.tsx';
import { count, money, percent } from '../admin/figures.ts';
import { Rows } from '../admin/rows.tsx';
import { Figures, Section } from '../admin/section.tsx';
import { moment } from '../shell/format.ts';
import { useInAddress } from '../shell/in-address.ts';
import { Answer } from '../shell/states.tsx';
import { type Outputs, trpc } from '../trpc.ts';

export function Money() {
  return (
    <>
      <Month />
      <Series />
      <CostsBy />
      <LossMakers />
    </>
  );
}

function lastMonths(count: number): string[] {
  const now = new Date();
  return Array.from({ length: count }, (_, back) =>
    new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - back, 1)).toISOString().slice(0, 7),
  );
}

function Month() {
  const [month, setMonth] = useInAddress('month', '', { replace: true });
  const summary = useQuery(
    trpc.analytics.costs.summary.queryOptions(month === '' ? {} : { month }, { placeholderData: keepPreviousData }),
  );
  const months = lastMonths(12);
  return (
    <Section
      title="Month"
      about="Revenue is what subscriptions and packs brought, net of refunds; the margin counts packs as their credits are spent."
      tools={
        <NativeSelect
          aria-label="Month (UTC)"
          value={month}
          onChange={(event) => setMonth(event.currentTarget.value)}
          data={months.map((one, nth) => ({ value: nth === 0 ? '' : one, label: nth === 0 ? `${one} (now)` : one }))}
        />
      }
    >
      <Answer of={summary}>
        {(month) => (
          <>
            <Figures
              figures={[
                { name: 'Revenue', value: money(month.totalMonthlyRevenue) },
                { name: 'Cost', value: money(month.totalMonthlyCost) },
                { name: 'Overall margin', value: percent(month.overallMargin) },
                { name: 'Subscriptions', value: money(month.subscriptionRevenue) },
                {
                  name: 'Packs',
                  value: money(month.packRevenue),
                  note: `${money(month.earnedPackRevenue)} of it earned`,
                },
                { name: 'Active users', value: count(month.activeUsers), note: `of ${count(month.totalUsers)}` },
                { name: 'Throttled', value: count(month.throttledUsers) },
                { name: 'High risk', value: count(month.highRiskUsers) },
                { name: 'Cost per user', value: money(month.averageCostPerUser) },
              ]}
            />
            <Text size="xs" c="dimmed">
              As of {moment(month.asOf)}.
            </Text>
          </>
        )}
      </Answer>
    </Section>
  );
}

type Point = Outputs['analytics']['costs']['timeSeries']['series'][number]['points'][number];
const MEASURES = {
  cost: { name: 'Cost', of: ({ cost }: Point) => cost, write: money },
  value: { name: 'Value', of: ({ value }: Point) => value, write: money },
  margin: { name: 'Margin', of: ({ margin }: Point) => margin, write: money },
  runs: { name: 'Runs', of: ({ runs }: Point) => runs, write: count },
  credits: { name: 'Credits', of: ({ credits }: Point) => credits, write: count },
  tokens: { name: 'Tokens', of: ({ tokens }: Point) => tokens, write: count },
} as const;
type Measure = keyof typeof MEASURES;
const isMeasure = (word: string): word is Measure => Object.hasOwn(MEASURES, word);

const EVERY = ['day', 'week', 'month'] as const;
const BY = ['all', 'model', 'package', 'plan'] as const;
const oneOf = <T extends string>(list: readonly T[], word: string, standard: T): T =>
  list.find((one) => one === word) ?? standard;

function Series() {
  const [everyWord, setEvery] = useInAddress('every', 'day');
  const [byWord, setBy] = useInAddress('by', 'all');
  const [measureWord, setMeasure] = useInAddress('measure', 'cost');
  const every = oneOf(EVERY, everyWord, 'day');
  const by = oneOf(BY, byWord, 'all');
  const measure = MEASURES[isMeasure(measureWord) ? measureWord : 'cost'];
  const series = useQuery(
    trpc.analytics.costs.timeSeries.queryOptions(
      { every, by: by === 'all' ? null : by },
      { placeholderData: keepPreviousData },
    ),
  );
  return (
    <Section
      title="Over time"
      about="Value is the cash that had been paid for the credits spent; margin is value less cost. Days are UTC."
    >
      <Group gap="xs">
        <SegmentedControl aria-label="Every" size="xs" data={[...EVERY]} value={every} onChange={setEvery} />
        <SegmentedControl aria-label="By" size="xs" data={[...BY]} value={by} onChange={setBy} />
        {by !== 'all' && (
          <NativeSelect
            aria-label="Figure"
            size="xs"
            value={isMeasure(measureWord) ? measureWord : 'cost'}
            onChange={(event) => setMeasure(event.currentTarget.value)}
            data={Object.entries(MEASURES).map(([value, { name }]) => ({ value, label: name }))}
          />
        )}
      </Group>
      <Answer of={series}>
        {({ series, by }) => {
          const labels = series[0]?.points.map(({ period }) => period.slice(0, every === 'month' ? 7 : 10)) ?? [];
          if (by === null) {
            const points = series[0]?.points ?? [];
            return (
              <Chart
                title={`Value, cost and margin by ${every}`}
                kind="lines"
                {...{ labels, write: money, axis: every }}
                lines={(['value', 'cost', 'margin'] as const).map((name) => ({
                  name: MEASURES[name].name,
                  values: points.map(MEASURES[name].of),
                }))}
              />
            );
          }
          return (
            <>
              <Chart
                title={`${measure.name} by ${every} and ${by}`}
                kind="stacked"
                {...{ labels, write: measure.write, axis: every }}
                lines={series.map(({ name, points }) => ({ name, values: points.map(measure.of) }))}
              />
              {series.length > MOST_LINES && (
                <Text size="xs" c="dimmed">
                  The picture has the {MOST_LINES} that cost most; the table has all.
                </Text>
              )}
            </>
          );
        }}
      </Answer>
    </Section>
  );
}

function CostsBy() {
  const [word, setBy] = useInAddress('table', 'model');
  const by = oneOf(['model', 'package', 'plan'] as const, word, 'model');
  const procedures = {
    model: trpc.analytics.costs.models,
    package: trpc.analytics.costs.packages,
    plan: trpc.analytics.costs.plans,
  };
  const costs = useQuery(procedures[by].queryOptions({}, { placeholderData: keepPreviousData }));
  return (
    <Section
      title="The last 30 days"
      about="Paid margin leaves out what free use cost, which stands beside it."
      tools={
        <SegmentedControl
          aria-label="Table by"
          size="xs"
          data={['model', 'package', 'plan']}
          value={by}
          onChange={setBy}
        />
      }
    >
      <Answer of={costs}>
        {({ rows }) => (
          <Rows
            caption={`Use, cost and margin by ${by} of the last 30 days`}
            rows={rows}
            keyOf={({ key }) => key}
            empty="Nothing ran in the last 30 days"
            columns={[
              {
                name: by,
                show: ({ name, losesMoney }) => (
                  <Group gap={6}>
                    {name}
                    {losesMoney && (
                      <Badge size="sm" color="red" variant="dot">
                        loses money
                      </Badge>
                    )}
                  </Group>
                ),
              },
              { name: 'Users', show: ({ users }) => count(users), isFigure: true },
              { name: 'Runs', show: ({ runs }) => count(runs), isFigure: true },
              { name: 'Failed', show: ({ failedRuns }) => count(failedRuns), isFigure: true },
              { name: 'Credits', show: ({ credits }) => count(credits), isFigure: true },
              { name: 'Cost', show: ({ cost }) => money(cost), isFigure: true },
              { name: 'Of it free', show: ({ freeCost }) => money(freeCost), isFigure: true },
              { name: 'Value', show: ({ value }) => money(value), isFigure: true },
              { name: 'Paid margin', show: ({ paidMargin }) => money(paidMargin), isFigure: true },
              { name: 'In %', show: ({ paidMarginPercent }) => percent(paidMarginPercent), isFigure: true },
              { name: 'Cache saved', show: ({ cacheSaving }) => money(cacheSaving), isFigure: true },
            ]}
          />
        )}
      </Answer>
    </Section>
  );
}

function LossMakers() {
  const losses = useQuery(trpc.analytics.costs.lossMakers.queryOptions());
  return (
    <Section
      title="What loses money"
      about="ops.loss_makers: whose paid credits cost more than was paid for them; packs of all time, the others of the last 30 days."
    >
      <Answer of={losses}>
        {({ losses }) => (
          <Rows
            caption="What loses money"
            rows={losses}
            keyOf={({ kind, name }) => `${kind} ${name}`}
            empty="Nothing loses money"
            columns={[
              { name: 'What', show: ({ kind, name }) => `${kind} ${name}` },
              { name: 'Paid credits', show: ({ credits }) => count(credits), isFigure: true },
              { name: 'Cost', show: ({ cost }) => money(cost), isFigure: true },
              { name: 'Value', show: ({ value }) => money(value), isFigure: true },
              { name: 'Loss', show: ({ loss }) => money(loss), isFigure: true },
              { name: 'Cost per credit', show: ({ costPerCredit }) => money(costPerCredit), isFigure: true },
              { name: 'Value per credit', show: ({ valuePerCredit }) => money(valuePerCredit), isFigure: true },
            ]}
          />
        )}
      </Answer>
    </Section>
  );
}
