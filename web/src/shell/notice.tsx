import { Alert } from '@mantine/core';
import { useSearchParams } from 'wouter';

/** What somebody is told who has just signed in. Spec 2.2. */
export function Notice() {
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
