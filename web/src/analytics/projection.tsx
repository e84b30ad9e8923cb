// A month's margin from figures that can be changed, beginning with those of now: ops.project_margin.
import { Button, NumberInput, Table } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { useSearchParams } from 'wouter';
import { count, money, percent } from '../admin/figures.ts';
import { Rows } from '../admin/rows.tsx';
import { Section } from '../admin/section.tsx';
import { Answer } from '../shell/states.tsx';
import { type Outputs, trpc } from '../trpc.ts';

const SETTLE_MS = 300;

type Plan = Outputs['analytics']['costs']['projection']['total'];
const FIELDS = ['subscribers', 'prices', 'averageCosts'] as const;
type Field = (typeof FIELDS)[number];
type Given = Record<Field, number[]> & { plans: string[] };

export function Projection() {
  const [query, setQuery] = useSearchParams();
  const present = useQuery(trpc.analytics.costs.projection.queryOptions({}));
  return (
    <Section
      title="Projection"
      about="What a month brings and costs with so many people of each plan. It begins with the present; the figures can be changed."
      tools={
        query.has('plans') && (
          <Button variant="default" size="xs" onClick={() => setQuery({}, { replace: true })}>
            Back to the present
          </Button>
        )
      }
    >
      <Answer of={present}>
        {({ plans }) => (
          <Form
            given={readGiven(query) ?? givenOf(plans)}
            onChange={(given) => setQuery(writeGiven(given), { replace: true })}
          />
        )}
      </Answer>
    </Section>
  );
}

const givenOf = (plans: readonly Plan[]): Given => ({
  plans: plans.map(({ plan }) => plan),
  subscribers: plans.map(({ users }) => users),
  prices: plans.map(({ monthlyPrice }) => monthlyPrice ?? 0),
  averageCosts: plans.map(({ averageCost }) => averageCost ?? 0),
});

function readGiven(query: URLSearchParams): Given | undefined {
  const plans = query.get('plans')?.split(',');
  if (plans === undefined) return undefined;
  const numbers = (field: Field) => {
    const list = (query.get(field) ?? '').split(',').map(Number);
    return plans.map((_, at) => {
      const value = list[at] ?? 0;
      return Number.isFinite(value) ? value : 0;
    });
  };
  return {
    plans,
    subscribers: numbers('subscribers'),
    prices: numbers('prices'),
    averageCosts: numbers('averageCosts'),
  };
}

const writeGiven = (given: Given) =>
  new URLSearchParams([
    ['plans', given.plans.join(',')],
    ...FIELDS.map((field): [string, string] => [field, given[field].join(',')]),
  ]);

function Form({ given, onChange }: { given: Given; onChange: (given: Given) => void }) {
  const [settled] = useDebouncedValue(given, SETTLE_MS);
  const projection = useQuery(
    trpc.analytics.costs.projection.queryOptions(settled, { placeholderData: keepPreviousData }),
  );
  const input = (field: Field, at: number, label: string, isWhole: boolean) => (
    <NumberInput
      aria-label={label}
      w={110}
      size="xs"
      value={given[field][at] ?? 0}
      onChange={(value) =>
        onChange({ ...given, [field]: given[field].map((one, nth) => (nth === at ? Number(value) || 0 : one)) })
      }
      {...{ min: 0, allowNegative: false, allowDecimal: !isWhole, decimalScale: isWhole ? 0 : 6 }}
    />
  );
  const rows = given.plans.map((plan, at) => ({
    plan,
    at,
    result: projection.data?.plans.find((one) => one.plan === plan),
  }));
  return (
    <>
      <Rows
        caption="Projection by plan"
        rows={rows}
        keyOf={({ plan }) => plan}
        empty="There is no plan"
        columns={[
          { name: 'Plan', show: ({ plan }) => plan },
          { name: 'People', show: ({ plan, at }) => input('subscribers', at, `People of ${plan}`, true) },
          { name: 'Price a month', show: ({ plan, at }) => input('prices', at, `Price of ${plan} a month`, false) },
          { name: 'Cost each', show: ({ plan, at }) => input('averageCosts', at, `Cost of each of ${plan}`, false) },
          { name: 'Revenue', show: ({ result }) => money(result?.revenue ?? null), isFigure: true },
          { name: 'Cost', show: ({ result }) => money(result?.cost ?? null), isFigure: true },
          { name: 'Profit', show: ({ result }) => money(result?.profit ?? null), isFigure: true },
          { name: 'Margin', show: ({ result }) => percent(result?.marginPercent ?? null), isFigure: true },
        ]}
      />
      <Answer of={projection}>
        {({ total }) => (
          <Table variant="vertical" withTableBorder maw={360}>
            <Table.Caption className="hidden">Total</Table.Caption>
            <Table.Tbody>
              {(
                [
                  ['People', count(total.users)],
                  ['Revenue', money(total.revenue)],
                  ['Cost', money(total.cost)],
                  ['Profit', money(total.profit)],
                  ['Margin', percent(total.marginPercent)],
                ] as const
              ).map(([name, value]) => (
                <Table.Tr key={name}>
                  <Table.Th scope="row">{name}</Table.Th>
                  <Table.Td ta="right">{value}</Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        )}
      </Answer>
    </>
  );
}
