// What users cost and pay this month, by risk, and how they are spread over their limits.
import { Anchor, Badge, Button, Group, NativeSelect, Text, TextInput } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { keepPreviousData, useInfiniteQuery, useMutation, useQuery } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import { Link } from 'wouter';
import { Chart } from '../admin/charts.tsx';
import { count, money, percent } from '../admin/figures.ts';
import { Rows } from '../admin/rows.tsx';
import { Section } from '../admin/section.tsx';
import { ago, moment } from '../shell/format.ts';
import { useInAddress } from '../shell/in-address.ts';
import { Answer, Loading, Refused } from '../shell/states.tsx';
import { type Inputs, type Outputs, queryClient, trpc } from '../trpc.ts';

const SEARCH_MS = 250;

type Asked = Inputs['analytics']['costs']['users'];
const RISKS = ['high_risk', 'medium_risk', 'low_risk', 'safe'] as const;
const SORTS = [
  { value: 'cost', label: 'Cost this month' },
  { value: 'percent_of_limit', label: 'Percent of limit' },
  { value: 'requests', label: 'Runs this month' },
  { value: 'revenue', label: 'Revenue' },
  { value: 'margin', label: 'Margin' },
  { value: 'lifetime_cost', label: 'Lifetime cost' },
  { value: 'last_request', label: 'Last run' },
  { value: 'created', label: 'Joined' },
] as const satisfies readonly { value: NonNullable<Asked['sort']>; label: string }[];

const RISK_COLORS: Record<string, string> = { high_risk: 'red', medium_risk: 'orange', low_risk: 'yellow' };
const Risk = ({ level }: { level: string }) => (
  <Badge size="sm" variant="dot" color={RISK_COLORS[level] ?? 'teal'}>
    {level.replace('_', ' ')}
  </Badge>
);

export function Users() {
  return (
    <>
      <LimitUse />
      <UserList />
    </>
  );
}

const TENTHS = ['0–10 %', '10–20 %', '20–30 %', '30–40 %', '40–50 %', '50–60 %', '60–70 %', '70–80 %', '80–90 %'];

function LimitUse() {
  const use = useQuery(trpc.analytics.costs.limitUse.queryOptions());
  return (
    <Section
      title="Use of limits"
      about="People with cost this month, by how much of their tier’s monthly limit is used."
    >
      <Answer of={use}>
        {({ tiers }) =>
          tiers.length === 0 ? (
            <Text size="sm" c="dimmed">
              Nobody has used any of a limit this month.
            </Text>
          ) : (
            <Chart
              title="People by percent of their monthly limit"
              kind="stacked"
              labels={[...TENTHS, '90–100 %', '100 % or more']}
              axis="Used"
              lines={tiers.map(({ tierName, people }) => ({ name: tierName, values: people }))}
              write={count}
            />
          )
        }
      </Answer>
    </Section>
  );
}

function UserList() {
  const [search, setSearch] = useInAddress('search', '', { replace: true });
  const [risk, setRisk] = useInAddress('risk');
  const [sort, setSort] = useInAddress('sort', 'cost');
  const [order, setOrder] = useInAddress('order', 'desc');
  const [text, setText] = useState(search);
  const [settled] = useDebouncedValue(text, SEARCH_MS);
  // biome-ignore lint/correctness/useExhaustiveDependencies: when somebody has stopped typing
  useEffect(() => {
    if (settled !== search) setSearch(settled);
  }, [settled]);

  const users = useInfiniteQuery(
    trpc.analytics.costs.users.infiniteQueryOptions(
      {
        search: search || null,
        risk: RISKS.find((one) => one === risk) ?? null,
        sort: SORTS.find(({ value }) => value === sort)?.value ?? 'cost',
        order: order === 'asc' ? 'asc' : 'desc',
        limit: 50,
      },
      { getNextPageParam: ({ nextCursor }) => nextCursor, placeholderData: keepPreviousData },
    ),
  );
  const refresh = useMutation(
    trpc.analytics.costs.refresh.mutationOptions({
      onSuccess: () => queryClient.invalidateQueries({ queryKey: trpc.analytics.pathKey() }),
    }),
  );
  const [first] = users.data?.pages ?? [];
  const rows = users.data?.pages.flatMap((page) => page.users) ?? [];

  return (
    <Section
      title="Users"
      about={
        first === undefined
          ? 'Looking'
          : `${count(first.total)} found${first.asOf === null ? '' : `, as of ${moment(first.asOf)}`}.`
      }
      tools={
        <Button variant="default" size="xs" loading={refresh.isPending} onClick={() => refresh.mutate(undefined)}>
          Refresh figures
        </Button>
      }
    >
      <Group gap="xs" align="flex-end">
        <TextInput
          label="Search"
          placeholder="E-mail, username or id"
          value={text}
          onChange={(event) => setText(event.currentTarget.value)}
          type="search"
        />
        <NativeSelect
          label="Risk"
          value={risk}
          onChange={(event) => setRisk(event.currentTarget.value)}
          data={[{ value: '', label: 'all' }, ...RISKS.map((value) => ({ value, label: value.replace('_', ' ') }))]}
        />
        <NativeSelect
          label="Sort by"
          value={sort}
          onChange={(event) => setSort(event.currentTarget.value)}
          data={[...SORTS]}
        />
        <NativeSelect
          label="Order"
          value={order}
          onChange={(event) => setOrder(event.currentTarget.value)}
          data={[
            { value: 'desc', label: 'largest first' },
            { value: 'asc', label: 'smallest first' },
          ]}
        />
      </Group>
      {refresh.isError && <Refused error={refresh.error} />}
      <Answer of={users} waiting={<Loading />}>
        {() => (
          <Rows
            caption="Users"
            rows={rows}
            keyOf={({ userId }) => userId}
            empty="Nobody is like that"
            columns={columns}
          />
        )}
      </Answer>
      {users.hasNextPage && (
        <Button variant="default" loading={users.isFetchingNextPage} onClick={() => void users.fetchNextPage()}>
          More
        </Button>
      )}
    </Section>
  );
}

type User = Outputs['analytics']['costs']['users']['users'][number];
const columns = [
  {
    name: 'User',
    show: ({ userId, username, email }: User) => (
      <span>
        <Anchor component={Link} href={`/admin/users/${userId}`} size="sm" fw={600}>
          {username}
        </Anchor>
        <Text size="xs" c="dimmed">
          {email}
        </Text>
      </span>
    ),
  },
  {
    name: 'Risk',
    show: ({ riskLevel, isThrottled }: User) => (
      <Group gap={4} justify="flex-end">
        <Risk level={riskLevel} />
        {isThrottled && (
          <Badge size="sm" color="red" variant="dot">
            throttled
          </Badge>
        )}
      </Group>
    ),
  },
  { name: 'Cost', show: (user: User) => money(user.currentMonthApiCost), isFigure: true },
  { name: 'Of limit', show: (user: User) => percent(user.percentOfLimit), isFigure: true },
  { name: 'Runs', show: (user: User) => count(user.currentMonthRequests), isFigure: true },
  { name: 'Revenue', show: (user: User) => money(user.monthlyRevenue), isFigure: true },
  { name: 'Margin', show: (user: User) => percent(user.currentMarginPercent), isFigure: true },
  { name: 'Lifetime cost', show: (user: User) => money(user.lifetimeApiCost), isFigure: true },
  { name: 'PRPM+', show: (user: User) => user.prpmPlusStatus ?? '–' },
  { name: 'Last run', show: (user: User) => (user.lastRequestAt === null ? '–' : ago(user.lastRequestAt)) },
];
