import { setTimeout as sleep } from 'node:timers/promises';
import { Command } from '@commander-js/extra-typings';
import type { PlaygroundClient } from '../../src/client/index.ts';
import { type Cli, interruptible, wholeNumber } from '../cli.ts';
import { credits, dollars, moment } from '../terminal.ts';

/** How often, and how long, the news of a payment is waited for. */
const LOOK_MS = 2_000;
const LOOK_FOR_MS = 10 * 60_000;

export function creditsCommand(cli: Cli) {
  const { screen } = cli;
  return new Command('credits').description('What can be spent, by kind, and when it expires').action(async () => {
    cli.answer(await cli.connect().api.credits.balance.query(), ({ available, held, breakdown, monthly, rollover }) => {
      const until = (expiry: string | null) => (expiry === null ? '' : `, until ${moment(expiry)}`);
      screen.pairs([
        ['available', credits(available)],
        ['held', held === 0 ? null : `${credits(held)}, for runs that go on`],
        [
          'monthly',
          monthly.allocated === 0 ? null : `${monthly.remaining} of ${monthly.allocated}${until(monthly.resetAt)}`,
        ],
        ['rollover', rollover.amount === 0 ? null : `${rollover.amount}${until(rollover.expiresAt)}`],
        ['signup', breakdown.signup || null],
        ['bonus', breakdown.bonus || null],
        ['purchased', breakdown.purchased === 0 ? null : `${breakdown.purchased}, which do not expire`],
      ]);
    });
  });
}

export function historyCommand(cli: Cli) {
  const { screen } = cli;
  return new Command('history')
    .description('Movements of credits, newest first')
    .option('-t, --type <type>', 'signup, monthly, purchase, spend, rollover, expire, refund, bonus or admin')
    .option('-l, --limit <n>', 'how many', wholeNumber(1, 100), 10)
    .option('--cursor <cursor>', 'where the list before ended')
    .addHelpText(
      'after',
      `
Examples:
  prpm-playground history --type spend --limit 3
  prpm-playground history --json | jq '[.transactions[].amount] | add'`,
    )
    .action(async ({ type, limit, cursor }) => {
      const page = await cli.connect().api.credits.history.query({ type, limit, cursor });
      cli.answer(page, ({ transactions, nextCursor }) => {
        screen.table(
          ['when', 'type', 'amount', 'balance', 'details'],
          transactions.map((one) => [
            ...[moment(one.createdAt), one.type, one.amount, one.balanceAfter],
            one.description ?? (one.kind === null ? '' : `${one.kind} credits`),
          ]),
        );
        screen.more(nextCursor);
      });
    });
}

export function buyCommand(cli: Cli) {
  const { screen } = cli;
  return new Command('buy')
    .description('Buy a pack of credits, or see which there are')
    .argument('[pack]', 'one of the list that it shows without')
    .option('--return-url <url>', 'where the page of the payment leads back to')
    .option('--no-wait', 'do not wait for the payment; nobody waits in a pipe')
    .addHelpText(
      'after',
      `
Examples:
  prpm-playground buy
  prpm-playground buy small`,
    )
    .action(async (pack, { returnUrl, wait }) => {
      const client = cli.connect();
      if (pack === undefined) {
        return cli.answer(await client.api.billing.packs.query(), ({ packages }) =>
          screen.table(
            ['pack', 'credits', 'price', 'per credit', ''],
            packages.map((one) => [
              ...[one.id, one.credits, one.priceFormatted, `$${one.perCreditCost}`],
              one.popular ? 'popular' : '',
            ]),
          ),
        );
      }
      const before = (await client.api.credits.balance.query()).balance;
      const bought = await client.api.billing.purchase.mutate({ package: pack, ...returnUrls(cli, returnUrl) });
      cli.answer(bought, ({ checkoutUrl, credits: count, price }) => {
        screen.tell(`${credits(count)} for ${dollars(price / 100)}. Pay here:`);
        screen.line(checkoutUrl);
      });
      if (!wait || !screen.isTerminal || cli.said.json) return;
      await untilPaid(cli, 'Waiting for the payment; Ctrl-C stops waiting, not the payment.', async () => {
        const { balance, available } = await client.api.credits.balance.query();
        return balance > before ? `Paid. ${credits(available)} can be spent.` : null;
      });
    });
}

export function subscribeCommand(cli: Cli) {
  const { screen } = cli;
  const command = new Command('subscribe')
    .description('Subscribe to PRPM+; or see, cancel or resume the subscription')
    .option('--return-url <url>', 'where the page of the payment leads back to')
    .option('--no-wait', 'do not wait for the payment; nobody waits in a pipe')
    .addHelpText(
      'after',
      `
Examples:
  prpm-playground subscribe
  prpm-playground subscribe status`,
    )
    .action(async ({ returnUrl, wait }) => {
      const client = cli.connect();
      const { price, credits: count } = await client.api.billing.pricing.query();
      const begun = await client.api.billing.subscribe.mutate(returnUrls(cli, returnUrl));
      cli.answer(begun, ({ checkoutUrl }) => {
        screen.tell(`PRPM+, ${credits(count)} a month for ${dollars(price)}. Pay here:`);
        screen.line(checkoutUrl);
      });
      if (!wait || !screen.isTerminal || cli.said.json) return;
      await untilPaid(cli, 'Waiting for the payment; Ctrl-C stops waiting, not the payment.', async () => {
        const { isActive } = await client.api.billing.subscription.query();
        return isActive ? 'Paid. Welcome to PRPM+.' : null;
      });
    });
  command
    .command('status')
    .description('Whether there is one, and until when it is paid')
    .action(async () => show(await cli.connect().api.billing.subscription.query()));
  for (const [name, description] of [
    ['cancel', 'End it with the period that is paid'],
    ['resume', 'Take a cancellation or a pause back'],
  ] as const) {
    command
      .command(name)
      .description(description)
      .action(async () => {
        const changed = await cli.connect().api.billing[name].mutate();
        cli.answer(changed, ({ message }) => screen.line(message));
      });
  }
  command
    .command('portal')
    .description('Cards and invoices')
    .option('--return-url <url>', 'where it leads back to')
    .action(async ({ returnUrl }) => {
      const { successUrl } = returnUrls(cli, returnUrl);
      const opened = await cli.connect().api.billing.portal.mutate({ returnUrl: successUrl });
      cli.answer(opened, ({ portalUrl }) => screen.line(portalUrl));
    });
  return command;

  function show(subscription: Awaited<ReturnType<PlaygroundClient['api']['billing']['subscription']['query']>>): void {
    cli.answer(subscription, ({ status, isActive, currentPeriodEnd, cancelAtPeriodEnd }) =>
      screen.pairs([
        ['status', status ?? 'none'],
        ['active', isActive ? 'yes' : 'no'],
        [cancelAtPeriodEnd ? 'ends' : 'renews', currentPeriodEnd === null ? null : moment(currentPeriodEnd)],
      ]),
    );
  }
}

/** Back to the server's own page, where nothing else was said. */
function returnUrls(cli: Cli, said: string | undefined) {
  const back = said ?? new URL('/credits', cli.account().url).href;
  return { successUrl: back, cancelUrl: back };
}

async function untilPaid({ terminal, screen }: Cli, told: string, look: () => Promise<string | null>): Promise<void> {
  screen.note(told);
  using stopping = interruptible(terminal);
  for (const until = Date.now() + LOOK_FOR_MS; Date.now() < until && !stopping.signal.aborted; ) {
    const paid = await look();
    if (paid !== null) return screen.tell(paid);
    await sleep(LOOK_MS, undefined, { signal: stopping.signal }).catch(() => undefined);
  }
  screen.note('Not heard of yet. prpm-playground history shows it when it is booked.');
}
