// What stands around the bench: sessions at the side, or behind a button where there is no room; what it is, and what can be done with it.
import { Button, Drawer, Group, Text, Title } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { type ReactNode, useEffect } from 'react';
import { Sessions } from '../sessions/side.tsx';
import { IconList } from '../shell/icons.tsx';
import styles from './playground.module.css';

type FrameProps = {
  /** Null for visitors, who have none. */
  sessions: { current: string | null; onNew: () => void; onGone: (id: string) => void } | null;
  title: string;
  facts?: string | null;
  tools?: ReactNode;
  /** Needs all the room that there is. */
  isWide?: boolean;
  children: ReactNode;
};

export function Frame({ sessions, title, facts = null, tools, isWide = false, children }: FrameProps) {
  const [isOpen, list] = useDisclosure(false);
  const current = sessions?.current ?? null;
  // biome-ignore lint/correctness/useExhaustiveDependencies: closed as another session is chosen
  useEffect(() => list.close(), [current]);
  const side = sessions && <Sessions {...sessions} />;
  return (
    <div className={styles.page} data-wide={isWide || undefined}>
      {side !== null && !isWide && (
        <aside className={styles.side} aria-label="Sessions">
          {side}
        </aside>
      )}
      {side !== null && (
        <Drawer opened={isOpen} onClose={list.close} title="Sessions">
          {isOpen && side}
        </Drawer>
      )}
      <div className={styles.bench}>
        <Group gap="xs" justify="space-between" mih={34}>
          <div className={styles.head}>
            <Title order={1} size="h4" className={styles.title}>
              {title}
            </Title>
            {facts !== null && (
              <Text size="xs" c="dimmed">
                {facts}
              </Text>
            )}
          </div>
          <Group gap="xs">
            {side !== null && (
              <Button
                className={styles.narrow}
                size="compact-sm"
                variant="default"
                leftSection={<IconList size={16} />}
                onClick={list.open}
              >
                Sessions
              </Button>
            )}
            {tools}
          </Group>
        </Group>
        {children}
      </div>
    </div>
  );
}
