import { Anchor, Button, CopyButton, Group, Skeleton, Stack, Text, TextInput } from '@mantine/core';
import { useMutation, useQuery } from '@tanstack/react-query';
import { Dialog } from '../shell/dialog.tsx';
import { type Asked, Fault, Refused } from '../shell/states.tsx';
import { queryClient, trpc } from '../trpc.ts';

export function ShareSession({ sessionId, onClose }: { sessionId: string; onClose: () => void }) {
  const refresh = () => void queryClient.invalidateQueries(trpc.sessions.read.queryFilter({ sessionId }));
  const session = useQuery(trpc.sessions.read.queryOptions({ sessionId }));
  const share = useMutation(trpc.sessions.share.mutationOptions({ onSuccess: refresh }));
  const unshare = useMutation(trpc.sessions.unshare.mutationOptions({ onSuccess: refresh }));
  const shared = { found: session, share, unshare };
  return <ShareDialog what="session" id={{ sessionId }} isGrowing {...shared} onClose={onClose} />;
}

export function ShareComparison({ comparisonId, onClose }: { comparisonId: string; onClose: () => void }) {
  const refresh = () => void queryClient.invalidateQueries(trpc.runs.comparisons.read.queryFilter({ comparisonId }));
  const comparison = useQuery(trpc.runs.comparisons.read.queryOptions({ comparisonId }));
  const share = useMutation(trpc.runs.comparisons.share.mutationOptions({ onSuccess: refresh }));
  const unshare = useMutation(trpc.runs.comparisons.unshare.mutationOptions({ onSuccess: refresh }));
  const shared = { found: comparison, share, unshare };
  return <ShareDialog what="comparison" id={{ comparisonId }} {...shared} onClose={onClose} />;
}

type Sharing<Id> = {
  what: string;
  id: Id;
  /** What it shows grows as the link is asked for again. */
  isGrowing?: boolean;
  found: Asked<{ shareToken: string | null }>;
  share: Act<Id> & { data: { shareToken: string } | undefined };
  unshare: Act<Id>;
  onClose: () => void;
};
type Act<Id> = { mutate: (id: Id) => void; isPending: boolean; isSuccess: boolean; error: unknown };

/** A link that anybody can read. It stays the same, and ends when one says so. */
function ShareDialog<Id>({ what, id, isGrowing = false, found, share, unshare, onClose }: Sharing<Id>) {
  const token = unshare.isSuccess ? null : (share.data?.shareToken ?? found.data?.shareToken ?? null);
  const faults = [share.error, unshare.error].filter((error) => error !== null);
  return (
    <Dialog onClose={onClose} title={`Share this ${what}`}>
      <Stack>
        <Fault of={found} />
        {found.data === undefined && found.error === null && <Skeleton height={90} />}
        {found.data !== undefined && token === null && !unshare.isSuccess && (
          <Text size="sm">
            Anybody with the link sees the questions and answers until now, and may say whether they were helpful. Who
            you are is not shown. You can end the link at any time.
          </Text>
        )}
        {unshare.isSuccess && <Text size="sm">The link has ended: it shows nothing any more.</Text>}
        {token !== null && <SharedLink token={token} />}
        {faults.length > 0 && <Refused error={faults[0]} />}
        {found.data !== undefined && (
          <Group justify="space-between">
            {token === null ? (
              <Button variant="default" onClick={onClose}>
                Close
              </Button>
            ) : (
              <Button variant="subtle" color="red" loading={unshare.isPending} onClick={() => unshare.mutate(id)}>
                Stop sharing
              </Button>
            )}
            {token === null && !unshare.isSuccess && (
              <Button loading={share.isPending} onClick={() => share.mutate(id)}>
                Create link
              </Button>
            )}
            {token !== null && isGrowing && share.data === undefined && (
              <Button variant="default" loading={share.isPending} onClick={() => share.mutate(id)}>
                Include all until now
              </Button>
            )}
          </Group>
        )}
      </Stack>
    </Dialog>
  );
}

/** As this page is reached, whatever the server believes its own name to be. */
function SharedLink({ token }: { token: string }) {
  const path = `/playground/shared/${encodeURIComponent(token)}`;
  const url = `${window.location.origin}${path}`;
  return (
    <>
      <Group align="end" gap="xs" wrap="nowrap">
        <TextInput
          data-autofocus
          label="Link"
          readOnly
          value={url}
          flex={1}
          onFocus={(event) => event.currentTarget.select()}
        />
        <CopyButton value={url}>
          {({ copied, copy }) => (
            <Button onClick={copy} miw={92}>
              {copied ? 'Copied' : 'Copy link'}
            </Button>
          )}
        </CopyButton>
      </Group>
      <Anchor href={path} target="_blank" rel="noopener" size="sm">
        See what others see
      </Anchor>
    </>
  );
}
