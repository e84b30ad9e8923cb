import { Alert } from '@mantine/core';
import { useState } from 'react';
import { useSearchParams } from 'wouter';
import { clockTime } from './format.ts';
import styles from './layout.module.css';
import { useOnline } from './online.ts';

/** What there is to say on every page. */
export function Notice() {
  return (
    <>
      <Offline />
      <SignedIn />
    </>
  );
}

/** One line, for what is there stays readable: of when it is, and that nobody has to do anything. */
function Offline() {
  const isOnline = useOnline();
  const [since, setSince] = useState<Date | null>(null);
  if (isOnline !== (since === null)) setSince(isOnline ? null : new Date());
  return (
    <div role="status">
      {since !== null && (
        <p className={styles.offline}>
          <strong>Offline.</strong> As it was at {clockTime(since)}; asked again when you are back.
        </p>
      )}
    </div>
  );
}

/** What somebody is told who has just signed in. Spec 2.2. */
function SignedIn() {
  const [query, setQuery] = useSearchParams();
  if (query.get('notice') !== 'email-taken') return null;
  return (
    <Alert
      color="yellow"
      withCloseButton
      closeButtonLabel="Dismiss"
      title="Your e-mail address belongs to another account"
      onClose={() =>
        setQuery(
          (now) => {
            now.delete('notice');
            return now;
          },
          { replace: true },
        )
      }
    >
      You are signed in to a new account without an e-mail address. If the other account is yours, sign out and sign in
      the way that you did before.
    </Alert>
  );
}
