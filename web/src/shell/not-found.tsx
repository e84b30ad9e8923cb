import { Button } from '@mantine/core';
import { Link } from 'wouter';
import styles from './states.module.css';
import { Empty } from './states.tsx';
import { useTitle } from './title.ts';

export function NotFound() {
  useTitle('Not found');
  return (
    <div className={styles.page}>
      <Empty isPage title="There is no such page">
        <Button component={Link} href="/playground" mt="sm">
          To the playground
        </Button>
      </Empty>
    </div>
  );
}
