// What is kept of oneself here, and what can be done with it.
import { Button, Stack, Text, Title } from '@mantine/core';
import { Link } from 'wouter';
import { EmailPreferences } from '../alerts/email-preferences.tsx';
import page from '../shell/states.module.css';
import { Empty, Loading } from '../shell/states.tsx';
import { useTitle } from '../shell/title.ts';
import { Erase } from './erase.tsx';
import { Export } from './export.tsx';
import { Tokens } from './tokens.tsx';
import { signInPath, useViewer } from './viewer.ts';

export function Account() {
  useTitle('Account');
  const viewer = useViewer();
  if (viewer === undefined) return <Loading />;
  if (viewer === null)
    return (
      <Stack className={page.page}>
        <Title order={1} size="h2">
          Account
        </Title>
        <Empty title="You are not signed in">
          <Button component={Link} href={signInPath()} mt="sm">
            Sign in
          </Button>
        </Empty>
      </Stack>
    );
  return (
    <Stack className={page.page} gap="xl">
      <div>
        <Title order={1} size="h2">
          Account
        </Title>
        <Text c="dimmed">
          {viewer.username}
          {viewer.email !== null && `, ${viewer.email}`}
        </Text>
      </div>
      <Tokens isAdmin={viewer.isAdmin} />
      <EmailPreferences />
      <Export username={viewer.username} />
      <Erase username={viewer.username} />
    </Stack>
  );
}
