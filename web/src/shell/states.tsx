// What a page shows instead of what it would show: it is coming, there is none, it was refused.
import { Alert, Button, Group, Skeleton, Stack, Text } from '@mantine/core';
import type { ReactNode } from 'react';
import { Link } from 'wouter';
import { signInPath } from '../accounts/viewer.ts';
import { adviceFor } from './advice.tsx';
import { problemOf } from './problem.ts';
import styles from './states.module.css';

export function Loading({ rows = 4 }: { rows?: number }) {
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

export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className={styles.empty}>
      <Text fw={600}>{title}</Text>
      {children !== undefined && (
        <Text size="sm" c="dimmed" component="div">
          {children}
        </Text>
      )}
    </div>
  );
}

/** An answer that was no: what, how much, until when, and what to do now. Never a bare code. */
export function Refused({ error, retry }: { error: unknown; retry?: (() => void) | undefined }) {
  const problem = problemOf(error);
  const { title, what, actions } = adviceFor(problem);
  return (
    <Alert color={problem.status === 429 || problem.status === 402 ? 'yellow' : 'red'} title={title} role="alert">
      <Stack gap="xs" align="flex-start">
        <Text size="sm">{what}</Text>
        <Group gap="xs">
          {problem.status === 401 && (
            <Button component={Link} href={signInPath()} size="compact-sm">
              Sign in
            </Button>
          )}
          {actions}
          {retry !== undefined && (
            <Button size="compact-sm" variant="default" onClick={retry}>
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
