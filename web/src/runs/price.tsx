import { Text } from '@mantine/core';
import { credits, whole } from '../shell/format.ts';
import { problemOf } from '../shell/problem.ts';

/** Of a run, or of a comparison. */
export type Price = {
  creditsLikely: number | null;
  creditsMost: number | null;
  balance: number;
  tokensInput?: number | null;
  droppedExchanges?: number | null;
};

/** "Run ≈ 2 credits, at most 4": the price stands on the button that spends it. */
export function runLabel(verb: string, price: Price | undefined): string {
  if (price?.creditsLikely == null || price.creditsMost === null) return verb;
  const { creditsLikely: likely, creditsMost: most } = price;
  return most > likely ? `${verb} ≈ ${credits(likely)}, at most ${whole(most)}` : `${verb} = ${credits(most)}`;
}

type PriceProps = { price: Price | undefined; isCurrent: boolean; error: unknown };

/** What the price comes out of. */
export function PriceLine({ price, isCurrent, error }: PriceProps) {
  if (error !== null && error !== undefined) {
    const { code, message } = problemOf(error);
    if (code === 'rate_limited')
      return <Text size="sm">The price follows in a moment: you type faster than it is counted.</Text>;
    return (
      <Text size="sm">
        {code === 'validation_error' ? message : 'The price is not known at the moment; the receipt will say it.'}
      </Text>
    );
  }
  if (price === undefined) return <Text size="sm">The price stands here before you run.</Text>;
  const { balance, tokensInput, droppedExchanges } = price;
  return (
    <Text size="sm" style={{ opacity: isCurrent ? 1 : 0.6 }}>
      You have {credits(balance)}
      {tokensInput != null && <> · {whole(tokensInput)} tokens to read</>}
      {droppedExchanges != null && droppedExchanges > 0 && (
        <> · without the oldest {droppedExchanges === 1 ? 'exchange' : `${droppedExchanges} exchanges`}</>
      )}
    </Text>
  );
}
