import { Command, Option } from '@commander-js/extra-typings';
import { type Cli, wholeNumber } from '../cli.ts';
import { dollars, moment } from '../terminal.ts';

const percent = (value: number | null) => (value === null ? '-' : `${value} %`);

export function adminCommand(cli: Cli) {
  const { screen } = cli;
  const command = new Command('admin').description('For administrators, with a token that may admin').addHelpText(
    'after',
    `
Examples:
  prpm-playground admin summary
  prpm-playground admin users --risk high_risk
  prpm-playground admin unthrottle USER --reason "paid by invoice"`,
  );

  command
    .command('summary')
    .description('Revenue, cost and margin of this month')
    .action(async () => {
      cli.answer(await cli.connect().api.analytics.costs.summary.query(), (summary) =>
        screen.pairs([
          ['revenue', dollars(summary.totalMonthlyRevenue)],
          ['  subscriptions', dollars(summary.subscriptionRevenue)],
          ['  packs', dollars(summary.packRevenue)],
          ['cost', dollars(summary.totalMonthlyCost)],
          ['margin', percent(summary.overallMargin)],
          ['active users', summary.activeUsers],
          ['throttled', summary.throttledUsers],
          ['high risk', summary.highRiskUsers],
          ['as of', moment(summary.asOf)],
        ]),
      );
    });

  command
    .command('users')
    .description('What users cost and pay, the dearest first')
    .addOption(
      new Option('--risk <level>', 'of one risk only').choices([
        'safe',
        'low_risk',
        'medium_risk',
        'high_risk',
      ] as const),
    )
    .option('--search <text>', 'part of an e-mail or username, or an id')
    .addOption(
      new Option('--sort <by>', 'by what')
        .choices([
          ...(['cost', 'lifetime_cost', 'requests', 'revenue', 'margin'] as const),
          ...(['percent_of_limit', 'last_request', 'created'] as const),
        ])
        .default('cost' as const),
    )
    .option('-l, --limit <n>', 'how many', wholeNumber(1, 100), 10)
    .option('--cursor <cursor>', 'where the list before ended')
    .action(async ({ risk, search, sort, limit, cursor }) => {
      const page = await cli.connect().api.analytics.costs.users.query({ risk, search, sort, limit, cursor });
      cli.answer(page, ({ users, nextCursor, total, asOf }) => {
        screen.table(
          ['user', 'id', 'plan', 'runs', 'cost', 'revenue', 'of limit', 'risk', 'throttled'],
          users.map((user) => [
            ...[user.email ?? user.username, user.userId, user.prpmPlusStatus ?? 'free', user.currentMonthRequests],
            ...[dollars(user.currentMonthApiCost), dollars(user.monthlyRevenue), percent(user.percentOfLimit)],
            ...[user.riskLevel, user.isThrottled ? 'yes' : ''],
          ]),
        );
        screen.note(`${users.length} of ${total}, as of ${moment(asOf)}`);
        screen.more(nextCursor);
      });
    });

  command
    .command('unthrottle')
    .description("Lift a user's throttle")
    .argument('<user>', 'id')
    .requiredOption('--reason <why>', 'kept in the audit log')
    .action(async (userId, { reason }) => {
      const released = await cli.connect().api.limits.releaseThrottle.mutate({ userId, reason });
      cli.answer(released, ({ message }) => screen.line(message));
    });

  command
    .command('alerts')
    .description('What is wrong, or was')
    .addOption(
      new Option('--state <state>', 'which').choices(['open', 'resolved', 'all'] as const).default('open' as const),
    )
    .option('-l, --limit <n>', 'how many', wholeNumber(1, 100), 20)
    .option('--cursor <cursor>', 'where the list before ended')
    .action(async ({ state, limit, cursor }) => {
      cli.answer(await cli.connect().api.alerts.list.query({ state, limit, cursor }), ({ alerts, nextCursor }) => {
        if (alerts.length === 0) return screen.line(state === 'open' ? 'Nothing is wrong.' : 'There are none.');
        screen.table(
          ['id', 'severity', 'since', 'until', 'what'],
          alerts.map((one) => [
            ...[one.id, one.severity, moment(one.raisedAt), one.resolvedAt === null ? '' : moment(one.resolvedAt)],
            `${one.what} ${one.whatToDo}`,
          ]),
        );
        screen.more(nextCursor);
      });
    });

  command
    .command('jobs')
    .description('What each job did last, and when it is due')
    .action(async () => {
      cli.answer(await cli.connect().api.jobs.list.query(), ({ jobs }) =>
        screen.table(
          ['job', 'last', 'rows', 'next', 'state'],
          jobs.map((job) => [
            ...[job.job, moment(job.lastFinishedAt), job.lastRows, moment(job.nextDueAt)],
            job.hasFailed ? `failed: ${job.lastError}` : job.isLate ? 'late' : 'well',
          ]),
        ),
      );
    });
  return command;
}
