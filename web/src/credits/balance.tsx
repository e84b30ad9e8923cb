import { Button } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link } from 'wouter';
import { credits } from '../shell/format.ts';
import { trpc } from '../trpc.ts';

/** What can be spent now, beside everything that spends. */
export function Balance() {
  const { data } = useQuery(trpc.credits.balance.queryOptions());
  return (
    <Button
      component={Link}
      href="/credits"
      variant={data !== undefined && data.available < 10 ? 'light' : 'subtle'}
      color={data !== undefined && data.available < 10 ? 'orange' : 'gray'}
      size="compact-md"
      c="var(--mantine-color-text)"
      miw={90}
      title={data !== undefined && data.held > 0 ? `${credits(data.held)} more are held by runs that go on` : undefined}
    >
      {data === undefined ? '…' : credits(data.available)}
    </Button>
  );
}
