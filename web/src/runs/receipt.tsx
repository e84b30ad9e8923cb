import { Anchor, Button, Skeleton, Table, Text } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { useQuery } from '@tanstack/react-query';
import { Link } from 'wouter';
import type { ShownReceipt } from '../../../src/engine/events.ts';
import { Dialog } from '../shell/dialog.tsx';
import { credits, dollars, seconds, whole } from '../shell/format.ts';
import { Answer } from '../shell/states.tsx';
import { trpc } from '../trpc.ts';

/** What a run was charged, by kind of credits, and how long it took. */
export function ReceiptLine({ receipt }: { receipt: ShownReceipt }) {
  const { creditsSpent, creditsByKind, tokensUsed, tokens, firstTokenMs, durationMs, creditsRemaining, cost } = receipt;
  const kinds = Object.entries(creditsByKind).filter(([, amount]) => amount > 0);
  const parts = [
    creditsSpent === 0
      ? 'Not charged'
      : `${credits(creditsSpent)}${kinds.length > 0 ? ` (${kinds.map(([kind, amount]) => `${amount} ${kind}`).join(', ')})` : ''}`,
    tokensUsed !== null &&
      `${whole(tokensUsed)} tokens (${whole(tokens.input ?? 0)} read, ${whole(tokens.output ?? 0)} written)`,
    firstTokenMs !== null && `first word after ${seconds(firstTokenMs)}`,
    durationMs !== null && `${seconds(durationMs)} in all`,
    cost !== undefined && `cost ${dollars(cost, 6)}`,
    `${credits(creditsRemaining)} left`,
  ];
  return (
    <Text size="xs" c="dimmed">
      {parts.filter((part) => part !== false).join(' · ')}
      {receipt.estimated && ' · counted here, for the provider’s own count was lost'}
    </Text>
  );
}

/** How the charge came to be, step by step, as it stands in the books. */
export function WhyCharged({ runId }: { runId: string }) {
  const [isOpen, dialog] = useDisclosure(false);
  return (
    <>
      <Button size="compact-xs" variant="subtle" onClick={dialog.open}>
        Why this charge
      </Button>
      {isOpen && <ChargeDialog runId={runId} onClose={dialog.close} />}
    </>
  );
}

export function ChargeDialog({ runId, onClose }: { runId: string; onClose: () => void }) {
  return (
    <Dialog onClose={onClose} title="How the charge came to be" size="lg">
      <ChargeSteps runId={runId} />
    </Dialog>
  );
}

function ChargeSteps({ runId }: { runId: string }) {
  const steps = useQuery(trpc.runs.explain.queryOptions({ runId }));
  return (
    <Answer of={steps} waiting={<Skeleton height={160} />}>
      {({ steps }) => (
        <>
          <Table.ScrollContainer minWidth={480} scrollAreaProps={{ tabIndex: 0 }} type="native">
            <Table>
              <Table.Thead>
                <Table.Tr>
                  <Table.Th>What</Table.Th>
                  <Table.Th ta="right">Quantity</Table.Th>
                  <Table.Th ta="right">Rate</Table.Th>
                  <Table.Th ta="right">Amount</Table.Th>
                  <Table.Th>Why</Table.Th>
                </Table.Tr>
              </Table.Thead>
              <Table.Tbody>
                {steps.map(({ step, what, quantity, rate, amount, unit, explanation }) => (
                  <Table.Tr key={step}>
                    <Table.Td>{what}</Table.Td>
                    <Table.Td ta="right">{quantity === null ? '' : whole(quantity)}</Table.Td>
                    <Table.Td ta="right">{rate ?? ''}</Table.Td>
                    <Table.Td ta="right">{amount === null ? '' : `${amount} ${unit}`}</Table.Td>
                    <Table.Td>{explanation}</Table.Td>
                  </Table.Tr>
                ))}
              </Table.Tbody>
            </Table>
          </Table.ScrollContainer>
          <Text size="sm" mt="sm">
            <Anchor component={Link} href="/credits?tab=history">
              All movements of your credits
            </Anchor>
          </Text>
        </>
      )}
    </Answer>
  );
}
