// What every section of the admin pages is made of.
import { Group, Paper, Text, Title } from '@mantine/core';
import type { ReactNode } from 'react';
import styles from './section.module.css';

type SectionProps = { title: string; about?: ReactNode; tools?: ReactNode; children: ReactNode };

export function Section({ title, about, tools, children }: SectionProps) {
  return (
    <section className={styles.section} aria-label={title}>
      <Group justify="space-between" align="flex-end" gap="sm">
        <div>
          <Title order={2} size="h4">
            {title}
          </Title>
          {about !== undefined && (
            <Text size="sm" c="dimmed">
              {about}
            </Text>
          )}
        </div>
        {tools}
      </Group>
      {children}
    </section>
  );
}

export type Figure = { name: string; value: ReactNode; note?: ReactNode };

export function Figures({ figures }: { figures: readonly Figure[] }) {
  return (
    <dl className={styles.figures}>
      {figures.map(({ name, value, note }) => (
        <Paper key={name} withBorder p="sm" component="div">
          <dt className={styles.name}>{name}</dt>
          <dd className={styles.value}>{value}</dd>
          {note !== undefined && <dd className={styles.note}>{note}</dd>}
        </Paper>
      ))}
    </dl>
  );
}
