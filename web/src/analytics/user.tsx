// One user: how they stand, what they have, what they were charged and refused, and what can be done about it.
import { Alert, Anchor, Badge, Button, Group, NumberInput, Progress, Text, TextInput } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { Link } from 'wouter';
import { ActionDialog } from '../admin/action-dialog.tsx';
import { count, money, percent } from '../admin/figures.ts';
import { Rows } from '../admin/rows.tsx';
import { Figures, Section } from '../admin/section.tsx';
import { Dialog } from '../shell/dialog.tsx';
import { credits, day, moment } from '../shell/format.ts';
import { Answer } from '../shell/states.tsx';
import { type Outputs, queryClient, trpc } from '../trpc.ts';
import styles from './user.module.css';

type User = Outputs['analytics']['costs']['user'];

export function UserCosts({ userId }: { userId: string }) {
  const user = useQuery(trpc.analytics.costs.user.queryOptions({ userId }));
  return (
    <>
      <Anchor component={Link} href="/admin/users" size="sm">
        ← Users
      </Anchor>
      <Answer of={user}>{(user) => <UserPage user={user} />}</Answer>
    </>
  );
}

function UserPage({ user }: { user: User }) {
  return (
    <>
      <Section title={user.username} about={user.email ?? 'No e-mail address'} tools={<Actions user={user} />}>
        <Group gap="xs">
          <Badge variant="default">{user.tier}</Badge>
          {user.tierOverride !== null && <Badge variant="default">by override</Badge>}
          {user.isAdmin && <Badge variant="default">administrator</Badge>}
          {user.closedAt !== null && (
            <Badge variant="dot" color="gray">
              closed
            </Badge>
          )}
        </Group>
        {user.isThrottled && (
          <Alert color="red" title={`Throttled by ${user.throttledBy}`}>
            {user.throttledReason ?? 'No reason was given.'}{' '}
            {user.throttledUntil === null
              ? 'Until it is lifted.'
              : `It ends by itself on ${moment(user.throttledUntil)}.`}
          </Alert>
        )}
        {user.limitsWaivedUntil !== null && (
          <Alert color="blue">Cost limits are waived until {moment(user.limitsWaivedUntil)}.</Alert>
        )}
        <Figures
          figures={[
            { name: 'Cost this month', value: money(user.currentMonthCost) },
            { name: 'Revenue a month', value: money(user.monthlyRevenue) },
            { name: 'Margin', value: percent(user.currentMarginPercent) },
            {
              name: 'Credits',
              value: count(user.credits.balance),
              note: user.credits.held > 0 ? `${count(user.credits.held)} held` : undefined,
            },
            { name: 'Lifetime cost', value: money(user.lifetimeCost), note: `${count(user.totalRequests)} runs` },
            { name: 'PRPM+', value: user.prpmPlusStatus ?? '–' },
            { name: 'Joined', value: day(user.userCreatedAt) },
          ]}
        />
      </Section>
      <Windows user={user} />
      <Throttle user={user} />
      <Lots user={user} />
      <Runs user={user} />
      <Refusals user={user} />
    </>
  );
}

function Windows({ user }: { user: User }) {
  return (
    <Section
      title="Limits"
      about="What counts against each limit, in UTC windows. Cost that purchased credits pay for does not."
    >
      <div className={styles.windows}>
        {user.windows.map(({ window, unit, used, held, limit, resetsAt }) => {
          const write = unit === 'dollars' ? money : count;
          const share = limit === null ? 0 : limit === 0 ? 100 : Math.min(100, (100 * used) / limit);
          return (
            <div key={window}>
              <Group justify="space-between" gap="xs">
                <Text size="sm" fw={600}>
                  {window}
                </Text>
                <Text size="sm">
                  {write(used)} of {limit === null ? 'no limit' : `${write(limit)} ${unit === 'dollars' ? '' : unit}`}
                </Text>
              </Group>
              <Progress
                value={share}
                color={share >= 90 ? 'red' : share >= 75 ? 'orange' : 'indigo'}
                aria-label={`Used of the ${window}’s limit`}
              />
              <Text size="xs" c="dimmed">
                {held > 0 && `${write(held)} held. `}Resets {moment(resetsAt)}.
              </Text>
            </div>
          );
        })}
      </div>
    </Section>
  );
}

function Throttle({ user }: { user: User }) {
  return (
    <Section title="Why throttled, or not" about="As ops.explain_throttle tells it.">
      <Rows
        caption="Explanation of the throttle"
        rows={user.explanation}
        keyOf={({ step }) => step}
        empty="Nothing to explain"
        columns={[
          { name: 'What', show: ({ what }) => what },
          { name: 'Used', show: ({ used, unit }) => amount(used, unit), isFigure: true },
          { name: 'Held', show: ({ held, unit }) => amount(held, unit), isFigure: true },
          { name: 'Limit', show: ({ limit, unit }) => amount(limit, unit), isFigure: true },
          { name: 'Explanation', show: ({ explanation }) => explanation },
        ]}
      />
    </Section>
  );
}

const amount = (value: number | null, unit: string | null) =>
  value === null ? '–' : unit?.startsWith('dollars') ? money(value) : `${value.toLocaleString()} ${unit ?? ''}`;

function Lots({ user }: { user: User }) {
  const [isOpen, setOpen] = useState(false);
  return (
    <Section
      title="Credit lots"
      about="The newest 50."
      tools={
        <Button variant="default" size="xs" onClick={() => setOpen(true)}>
          Explain the balance
        </Button>
      }
    >
      <Rows
        caption="Credit lots"
        rows={user.lots}
        keyOf={({ id }) => id}
        empty="No credits were ever given"
        columns={[
          { name: 'Kind', show: ({ kind }) => kind },
          { name: 'Source', show: ({ source }) => source },
          { name: 'Granted', show: ({ granted }) => count(granted), isFigure: true },
          { name: 'Remaining', show: ({ remaining }) => count(remaining), isFigure: true },
          { name: 'Paid per credit', show: ({ paidPerCredit }) => money(paidPerCredit), isFigure: true },
          { name: 'Cost borne', show: ({ cost }) => money(cost), isFigure: true },
          {
            name: 'Expires',
            show: ({ expiresAt }) => (expiresAt === null || expiresAt === 'infinity' ? 'never' : day(expiresAt)),
          },
          { name: 'Since', show: ({ createdAt }) => day(createdAt) },
        ]}
      />
      {isOpen && <BalanceExplained user={user} onClose={() => setOpen(false)} />}
    </Section>
  );
}

function BalanceExplained({ user, onClose }: { user: User; onClose: () => void }) {
  const steps = useQuery(trpc.credits.explain.queryOptions({ userId: user.userId, limit: 100 }));
  return (
    <Dialog {...{ onClose, size: 'xl' }} title={`How the balance of ${user.username} came to be`}>
      <Answer of={steps}>
        {({ steps }) => (
          <Rows
            caption="Steps of the balance"
            rows={steps}
            keyOf={({ step }) => step}
            empty="Nothing moved yet"
            columns={[
              { name: 'When', show: ({ at }) => moment(at) },
              { name: 'Type', show: ({ type }) => type },
              { name: 'Change', show: ({ change }) => count(change), isFigure: true },
              { name: 'Balance', show: ({ balance }) => count(balance), isFigure: true },
              { name: 'Explanation', show: ({ explanation }) => explanation },
            ]}
          />
        )}
      </Answer>
    </Dialog>
  );
}

function Runs({ user }: { user: User }) {
  const [run, setRun] = useState<string | null>(null);
  return (
    <Section title="Runs" about="The newest 20.">
      <Rows
        caption="Runs"
        rows={user.runs}
        keyOf={({ runId }) => runId}
        empty="Nothing was run yet"
        columns={[
          { name: 'Began', show: ({ startedAt }) => moment(startedAt) },
          { name: 'Package', show: ({ packageName, packageVersion }) => `${packageName ?? '–'} ${packageVersion}` },
          { name: 'Model', show: ({ model }) => model },
          { name: 'Status', show: ({ status, error }) => (error === null ? status : `${status}: ${error}`) },
          { name: 'Tokens', show: ({ tokens }) => count(tokens), isFigure: true },
          {
            name: 'Credits',
            show: ({ credits, shortfall }) =>
              shortfall > 0 ? `${count(credits)} (${count(shortfall)} short)` : count(credits),
            isFigure: true,
          },
          { name: 'Cost', show: ({ cost }) => money(cost), isFigure: true },
          { name: 'Margin', show: ({ margin }) => money(margin), isFigure: true },
          {
            name: 'Explain',
            isNameless: true,
            show: ({ runId, startedAt }) => (
              <Button
                variant="subtle"
                size="compact-xs"
                onClick={() => setRun(runId)}
                aria-label={`Explain the charge of ${moment(startedAt)}`}
              >
                Explain
              </Button>
            ),
          },
        ]}
      />
      {run !== null && <ChargeExplained runId={run} onClose={() => setRun(null)} />}
    </Section>
  );
}

function ChargeExplained({ runId, onClose }: { runId: string; onClose: () => void }) {
  const charge = useQuery(trpc.runs.explain.queryOptions({ runId }));
  return (
    <Dialog {...{ onClose, size: 'xl' }} title={`Charge of run ${runId}`}>
      <Answer of={charge}>
        {({ steps }) => (
          <Rows
            caption="Steps of the charge"
            rows={steps}
            keyOf={({ step }) => step}
            empty="Nothing was charged"
            columns={[
              { name: 'What', show: ({ what }) => what },
              { name: 'Quantity', show: ({ quantity }) => count(quantity), isFigure: true },
              { name: 'Rate', show: ({ rate }) => rate ?? '–', isFigure: true },
              { name: 'Amount', show: ({ amount: value, unit }) => amount(value, unit), isFigure: true },
              { name: 'Explanation', show: ({ explanation }) => explanation },
            ]}
          />
        )}
      </Answer>
    </Dialog>
  );
}

function Refusals({ user }: { user: User }) {
  return (
    <Section title="Refusals" about="The newest 20, counted by reason and hour.">
      <Rows
        caption="Refusals"
        rows={user.refusals}
        keyOf={({ reason, hourStart }) => `${reason} ${hourStart}`}
        empty="Nothing was refused"
        columns={[
          { name: 'Reason', show: ({ reason }) => reason },
          { name: 'Times', show: ({ refusals }) => count(refusals), isFigure: true },
          { name: 'Used', show: ({ used, unit }) => amount(used, unit), isFigure: true },
          { name: 'Limit', show: ({ limit, unit }) => amount(limit, unit), isFigure: true },
          { name: 'Last', show: ({ lastAt }) => moment(lastAt) },
        ]}
      />
    </Section>
  );
}

type Act = 'release' | 'throttle' | 'waive' | 'grant';

function Actions({ user }: { user: User }) {
  const [act, setAct] = useState<Act | null>(null);
  const close = () => setAct(null);
  return (
    <Group gap="xs">
      {user.isThrottled && (
        <Button size="xs" onClick={() => setAct('release')}>
          Lift throttle
        </Button>
      )}
      <Button size="xs" variant="default" onClick={() => setAct('throttle')}>
        Throttle
      </Button>
      <Button size="xs" variant="default" onClick={() => setAct('waive')}>
        Waive limits
      </Button>
      <Button size="xs" variant="default" onClick={() => setAct('grant')}>
        Grant credits
      </Button>
      {act === 'release' && <Release user={user} onClose={close} />}
      {act === 'throttle' && <ThrottleUntil user={user} onClose={close} />}
      {act === 'waive' && <Waive user={user} onClose={close} />}
      {act === 'grant' && <Grant user={user} onClose={close} />}
    </Group>
  );
}

type DialogProps = { user: User; onClose: () => void };

/** Says what was done, and shows how they stand then. */
function done(message: string, onClose: () => void): void {
  notifications.show({ message });
  onClose();
  void queryClient.invalidateQueries({ queryKey: trpc.analytics.pathKey() });
  void queryClient.invalidateQueries({ queryKey: trpc.limits.pathKey() });
  void queryClient.invalidateQueries({ queryKey: trpc.credits.pathKey() });
}

function Release({ user, onClose }: DialogProps) {
  const release = useMutation(
    trpc.limits.releaseThrottle.mutationOptions({ onSuccess: ({ message }) => done(message, onClose) }),
  );
  return (
    <ActionDialog
      {...{ onClose, isPending: release.isPending, error: release.error }}
      title={`Lift the throttle of ${user.username}`}
      verb="Lift throttle"
      onDo={(reason) => release.mutate({ userId: user.userId, reason })}
    >
      <Text size="sm">
        If a limit that throttles is still used up, it throttles them again at once: waive their limits then.
      </Text>
    </ActionDialog>
  );
}

/** An instant from what a date field holds, in the reader's own time. */
const instant = (local: string) => (local === '' ? null : new Date(local).toISOString());

function UntilInput({ value, onChange, blank }: { value: string; onChange: (value: string) => void; blank: string }) {
  return (
    <TextInput
      type="datetime-local"
      label="Until"
      description={blank}
      value={value}
      onChange={(event) => onChange(event.currentTarget.value)}
    />
  );
}

function ThrottleUntil({ user, onClose }: DialogProps) {
  const [until, setUntil] = useState('');
  const throttle = useMutation(
    trpc.limits.throttle.mutationOptions({ onSuccess: () => done(`${user.username} is throttled.`, onClose) }),
  );
  return (
    <ActionDialog
      {...{ onClose, isPending: throttle.isPending, error: throttle.error }}
      title={`Throttle ${user.username}`}
      verb="Throttle"
      color="red"
      onDo={(reason) => throttle.mutate({ userId: user.userId, until: instant(until), reason })}
    >
      <UntilInput value={until} onChange={setUntil} blank="Empty: until it is lifted." />
    </ActionDialog>
  );
}

function Waive({ user, onClose }: DialogProps) {
  const [until, setUntil] = useState('');
  const waive = useMutation(
    trpc.limits.waive.mutationOptions({
      onSuccess: ({ limitsWaivedUntil }) =>
        done(
          limitsWaivedUntil === null
            ? `The waiver of ${user.username} has ended.`
            : `Limits of ${user.username} are waived until ${moment(limitsWaivedUntil)}.`,
          onClose,
        ),
    }),
  );
  const hasWaiver = user.limitsWaivedUntil !== null;
  return (
    <ActionDialog
      {...{ onClose, isPending: waive.isPending, error: waive.error }}
      title={`Waive the limits of ${user.username}`}
      verb={until === '' && hasWaiver ? 'End the waiver' : 'Waive limits'}
      isReady={until !== '' || hasWaiver}
      onDo={(reason) => waive.mutate({ userId: user.userId, until: instant(until), reason })}
    >
      <Text size="sm">They run past their cost limits; what it costs is recorded all the same.</Text>
      <UntilInput value={until} onChange={setUntil} blank={hasWaiver ? 'Empty: ends the waiver.' : 'When it ends.'} />
    </ActionDialog>
  );
}

function Grant({ user, onClose }: DialogProps) {
  const [amount, setAmount] = useState<number | string>(10);
  const grant = useMutation(
    trpc.credits.grant.mutationOptions({
      onSuccess: ({ granted, balance }) =>
        done(`${credits(granted)} granted to ${user.username}, who has ${credits(balance)} now.`, onClose),
    }),
  );
  return (
    <ActionDialog
      {...{ onClose, isPending: grant.isPending, error: grant.error }}
      title={`Grant credits to ${user.username}`}
      verb="Grant credits"
      isReady={typeof amount === 'number' && amount >= 1}
      onDo={(reason) => grant.mutate({ userId: user.userId, amount: Number(amount), reason })}
    >
      <NumberInput
        label="Credits"
        description="A bonus that does not expire."
        value={amount}
        onChange={setAmount}
        {...{ min: 1, max: 1_000_000, allowDecimal: false, allowNegative: false }}
      />
    </ActionDialog>
  );
}
