import { ActionIcon, Alert, Badge, Button, CopyButton, Group, Menu, Skeleton, Text, Tooltip } from '@mantine/core';
import { type ReactNode, Suspense, useState } from 'react';
import { Link } from 'wouter';
import { IconCheck, IconCopy, IconMore } from '../shell/icons.tsx';
import { lazyPart } from '../shell/online.ts';
import type { Snippet } from './as-code.ts';
import styles from './exchange.module.css';

const Markdown = lazyPart(() => import('../shell/markdown.tsx').then((file) => file.Markdown));

type AnswerProps = {
  answer: string;
  isPartial?: boolean;
  label?: string;
  /** What stands below the answer: receipt, feedback. */
  children?: ReactNode;
  /** What stands in place of an answer that is none, or above one that ended early. */
  problem?: ReactNode;
  asCode?: Snippet[];
};

/** A question and its answer. */
export function Exchange({ question, ...answer }: AnswerProps & { question: string }) {
  return (
    <article className={styles.exchange} aria-label={`Question: ${question.slice(0, 80)}`}>
      <div className={styles.question}>{question}</div>
      <Answer {...answer} />
    </article>
  );
}

export function Answer({ answer, isPartial = false, label, children, problem, asCode }: AnswerProps) {
  const [isRaw, setRaw] = useState(false);
  return (
    <div className={styles.answer}>
      {(answer !== '' || label !== undefined) && (
        <Group justify="space-between" mb="xs" gap="xs" wrap="nowrap">
          <Badge variant="light" color="gray" tt="none" className={styles.label}>
            {label}
          </Badge>
          {answer !== '' && (
            <Group gap={4} wrap="nowrap">
              <Button
                size="compact-xs"
                variant="subtle"
                color="gray"
                aria-pressed={isRaw}
                onClick={() => setRaw(!isRaw)}
              >
                {isRaw ? 'Formatted' : 'Raw'}
              </Button>
              <CopyButton value={answer}>
                {({ copied, copy }) => (
                  <Tooltip label={copied ? 'Copied' : 'Copy answer'}>
                    <ActionIcon
                      variant="subtle"
                      color="gray"
                      aria-label={copied ? 'Copied' : 'Copy answer'}
                      onClick={copy}
                    >
                      {copied ? <IconCheck /> : <IconCopy />}
                    </ActionIcon>
                  </Tooltip>
                )}
              </CopyButton>
              {asCode !== undefined && <AsCode snippets={asCode} />}
            </Group>
          )}
        </Group>
      )}
      {isRaw ? (
        <pre className={styles.raw}>{answer}</pre>
      ) : answer === '' ? (
        isPartial && <Skeleton height={14} width="60%" aria-hidden="true" />
      ) : (
        <Suspense fallback={<pre className={styles.raw}>{answer}</pre>}>
          <Markdown text={answer} isPartial={isPartial} />
        </Suspense>
      )}
      {problem}
      {children !== undefined && <div className={styles.below}>{children}</div>}
    </div>
  );
}

/** The same run from a program. */
function AsCode({ snippets }: { snippets: Snippet[] }) {
  return (
    <Menu position="bottom-end">
      <Menu.Target>
        <ActionIcon variant="subtle" color="gray" aria-label="Copy this run as code">
          <IconMore />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        {snippets.map(({ name, text }) => (
          <CopyButton key={name} value={text}>
            {({ copied, copy }) => (
              <Menu.Item onClick={copy} closeMenuOnClick={false}>
                {copied ? 'Copied' : `Copy as ${name}`}
              </Menu.Item>
            )}
          </CopyButton>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}

type EndedProps = {
  title: string;
  message: string;
  /** Null where that is not known yet. */
  isCharged: boolean | null;
};

/** A run that brought nothing, or ended early, and what it cost. */
export function Ended({ title, message, isCharged }: EndedProps) {
  return (
    <Alert color="red" title={title} role="alert" mt="xs">
      <Text size="sm">{message}</Text>
      <Text size="sm">
        {isCharged === null ? (
          'Whether something is charged shows when it is settled. '
        ) : isCharged ? (
          'What was delivered until then is charged. '
        ) : (
          <strong>It was not charged. </strong>
        )}
        <Link href="/credits?tab=history" className={styles.link}>
          See your credit history
        </Link>
      </Text>
    </Alert>
  );
}
