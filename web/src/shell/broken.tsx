// What stands in place of a page of which a part did not load, as after a new release, or which broke.
import { Button, Group } from '@mantine/core';
import { Component, type ReactNode } from 'react';
import { Link } from 'wouter';
import styles from './states.module.css';
import { Empty } from './states.tsx';

/** With a `key` of the page that it is about, so that the next one is tried anew. */
export class Broken extends Component<{ children: ReactNode }, { error: unknown }> {
  override state = { error: undefined };

  static getDerivedStateFromError(error: unknown) {
    return { error };
  }

  override render() {
    if (this.state.error === undefined) return this.props.children;
    return (
      <div className={styles.page} role="alert">
        <Empty title="This page could not be shown" isPage>
          <p>A part of it did not load, or broke. What you ran and paid is kept; a run that had begun goes on.</p>
          <Group gap="xs" justify="center">
            <Button onClick={() => location.reload()}>Load it again</Button>
            <Button component={Link} href="/playground" variant="default">
              To the playground
            </Button>
          </Group>
        </Empty>
      </div>
    );
  }
}
