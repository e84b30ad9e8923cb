// What a page shows instead of what it would show: it is coming, there is none, it was refused.
import { Alert, Button, Group, Skeleton, Stack, Text } from '@mantine/core';
import type { ReactNode } from 'react';
import { Link } from 'wouter';
import { signInPath } from '../accounts/viewer.ts';
import { adviceFor } from './advice.tsx';
import { clockTime } from './format.ts';
import { useOnline } from './online.ts';
import { type Problem, problemOf, problemOfRefusal, type Refusal } from './problem.ts';
import styles from './states.module.css';

export function Loading({ rows = 4 }: { rows?: number }) {
  if (!useOnline())
    return (
      <div className={styles.page}>
        <Empty title="This is not here yet">It comes by itself when you are online again.</Empty>
      </div>
    );
  return (
    <Stack gap="sm" className={styles.page} role="status" aria-label="Loading">
      <Skeleton height={28} width="40%" />
      {Array.from({ length: rows }, (_, nth) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: they are all alike
        <Skeleton key={nth} height={18} />
      ))}
    </Stack>
  );
}

/** What a query has to say for itself. */
export type Asked<T> = {
  data: T | undefined;
  isError: boolean;
  error: unknown;
  dataUpdatedAt: number;
  refetch: () => unknown;
};

type AnswerProps<T> = {
  of: Asked<T>;
  /** As high as what comes. */
  waiting?: ReactNode;
  children: (data: T) => ReactNode;
};

/** What a query brought, or instead of it that it is coming, or why it does not. What was there stays, and says of when it is. */
export function Answer<T>({ of, waiting = <Loading rows={5} />, children }: AnswerProps<T>) {
  return (
    <>
      <Fault of={of} />
      {of.data !== undefined ? children(of.data) : !of.isError && <div data-waiting>{waiting}</div>}
    </>
  );
}

/** Why a query brought nothing, or nothing new: then of when that is what is seen. */
export function Fault({ of }: { of: Asked<unknown> }) {
  if (!of.isError) return null;
  const retry = () => void of.refetch();
  if (of.data === undefined) return <Refused error={of.error} retry={retry} />;
  return (
    <Alert color="yellow" p="xs" role="status">
      <Group gap="xs">
        <Text size="sm">
          {problemOf(of.error).title}. What you see is from {clockTime(new Date(of.dataUpdatedAt))}.
        </Text>
        <Button size="compact-xs" variant="default" onClick={retry}>
          Ask again
        </Button>
      </Group>
    </Alert>
  );
}

type EmptyProps = {
  title: string;
  children?: ReactNode;
  /** It is all that is on the page. */
  isPage?: boolean;
};

export function Empty({ title, children, isPage = false }: EmptyProps) {
  return (
    <div className={styles.empty}>
      <Text fw={600} component={isPage ? 'h1' : 'p'} m={0}>
        {title}
      </Text>
      {children !== undefined && (
        <Text size="sm" c="dimmed" component="div">
          {children}
        </Text>
      )}
    </div>
  );
}

/** `children`: ways on that only this page knows. */
type RefusedProps = { retry?: (() => void) | undefined; children?: ReactNode } & (
  | { error: unknown }
  | { refusal: Refusal }
  | { problem: Problem }
);

/** An answer that was no: what, how much, until when, and what to do now. Never a bare code. */
export function Refused(props: RefusedProps) {
  const problem =
    'problem' in props ? props.problem : 'refusal' in props ? problemOfRefusal(props.refusal) : problemOf(props.error);
  const { title, what, actions } = adviceFor(problem);
  const isLimit = problem.status === 429 || problem.status === 402 || problem.status === 413;
  return (
    <Alert color={isLimit ? 'yellow' : 'red'} title={title} role="alert">
      <Stack gap="xs" align="flex-start">
        <Text size="sm">{what}</Text>
        <Group gap="xs" className={styles.ways}>
          {problem.status === 401 && (
            <Button component={Link} href={signInPath()} size="compact-sm">
              Sign in
            </Button>
          )}
          {props.children}
          {actions}
          {props.retry !== undefined && problem.status !== 404 && (
            <Button size="compact-sm" variant="default" onClick={props.retry}>
              Try again
            </Button>
          )}
        </Group>
        {problem.code === 'internal_error' && problem.requestId !== undefined && (
          <Text size="xs" c="dimmed">
            If you report it, name request {problem.requestId}.
          </Text>
        )}
      </Stack>
    </Alert>
  );
}
