import { Badge, Button, Group, Text, Title } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import type { ComponentType } from 'react';
import { Link, Route, Switch, useLocation } from 'wouter';
import { Changes } from '../accounts/changes.tsx';
import { signInPath, useViewer } from '../accounts/viewer.ts';
import { Alerts } from '../alerts/alerts.tsx';
import { Money } from '../analytics/money.tsx';
import { Projection } from '../analytics/projection.tsx';
import { UserCosts } from '../analytics/user.tsx';
import { Users } from '../analytics/users.tsx';
import { WhatIf } from '../analytics/what-if.tsx';
import { StripeInbox } from '../billing/stripe-inbox.tsx';
import { PriceBook } from '../catalog/price-book.tsx';
import { Jobs } from '../jobs/jobs.tsx';
import { Now } from '../jobs/now.tsx';
import { Config } from '../limits/config.tsx';
import { NotFound } from '../shell/not-found.tsx';
import { Empty, Loading } from '../shell/states.tsx';
import { useTitle } from '../shell/title.ts';
import { trpc } from '../trpc.ts';
import styles from './page.module.css';

type Section = { path: string; name: string; Show: ComponentType };

/** Below /admin. Who knows the views of psql finds what they show here by the same names. */
const sections: readonly Section[] = [
  { path: '', name: 'Money', Show: Money },
  { path: '/users', name: 'Users', Show: Users },
  { path: '/now', name: 'Now', Show: Now },
  { path: '/config', name: 'Limits and settings', Show: Config },
  { path: '/prices', name: 'Price book', Show: PriceBook },
  { path: '/what-if', name: 'What if', Show: WhatIf },
  { path: '/projection', name: 'Projection', Show: Projection },
  { path: '/alerts', name: 'Alerts', Show: Alerts },
  { path: '/jobs', name: 'Jobs', Show: Jobs },
  { path: '/stripe', name: 'Stripe inbox', Show: StripeInbox },
  { path: '/changes', name: 'Changes', Show: Changes },
];

export function Admin() {
  useTitle('Admin');
  const viewer = useViewer();
  if (viewer === undefined) return <Loading />;
  if (viewer === null || !viewer.isAdmin) return <NotForYou isSignedIn={viewer !== null} />;
  return (
    <div className={styles.page}>
      <div className={styles.side}>
        <Group justify="space-between" gap="xs" mb="xs">
          <Title order={1} size="h3">
            Admin
          </Title>
          <ChecksBadge />
        </Group>
        <nav className={styles.sections} aria-label="Admin">
          {sections.map((section) => (
            <SectionLink key={section.path} {...section} />
          ))}
        </nav>
      </div>
      <div className={styles.content}>
        <Switch>
          {sections.map(({ path, Show }) => (
            <Route key={path} path={`/admin${path}`} component={Show} />
          ))}
          <Route path="/admin/users/:id">{({ id }) => <UserCosts key={id} userId={id} />}</Route>
          <Route component={NotFound} />
        </Switch>
      </div>
    </div>
  );
}

function SectionLink({ path, name }: Section) {
  const [location] = useLocation();
  const href = `/admin${path}`;
  const isHere = location === href || (path !== '' && location.startsWith(`${href}/`));
  return (
    <Link href={href} className={styles.section} aria-current={isHere ? 'page' : undefined}>
      {name}
    </Link>
  );
}

/** Whether ops.checks() finds anything. */
function ChecksBadge() {
  const { data } = useQuery(trpc.jobs.health.queryOptions(undefined, { refetchInterval: 60_000 }));
  if (data === undefined) return null;
  return (
    <Badge
      component={Link}
      href="/admin/jobs"
      variant="dot"
      color={data.healthy ? 'teal' : 'red'}
      className={styles.badge}
    >
      {data.healthy ? 'All checks pass' : `${data.problems.length} to look at`}
    </Badge>
  );
}

function NotForYou({ isSignedIn }: { isSignedIn: boolean }) {
  return (
    <div className={styles.alone}>
      <Empty isPage title="For administrators">
        <Text size="sm" mb="sm">
          {isSignedIn
            ? 'Your account is no administrator’s. An operator can make it one: ops.set_user.'
            : 'Sign in with an administrator’s account.'}
        </Text>
        {!isSignedIn && (
          <Button component={Link} href={signInPath()} size="compact-md">
            Sign in
          </Button>
        )}
      </Empty>
    </div>
  );
}
