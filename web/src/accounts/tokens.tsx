// Tokens for programs. One is shown once, when it is made.
import {
  Alert,
  Badge,
  Button,
  Checkbox,
  Code,
  CopyButton,
  Group,
  Select,
  Skeleton,
  Stack,
  Text,
  TextInput,
  Title,
} from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { useMutation, useQuery } from '@tanstack/react-query';
import { type ReactNode, useEffect, useRef, useState } from 'react';
import { Dialog } from '../shell/dialog.tsx';
import { ago, day } from '../shell/format.ts';
import { IconPlus } from '../shell/icons.tsx';
import { Empty, Fault, Refused } from '../shell/states.tsx';
import { type Inputs, type Outputs, queryClient, trpc } from '../trpc.ts';
import styles from './account.module.css';

type Token = Outputs['accounts']['tokens']['list']['tokens'][number];
type Scope = Inputs['accounts']['tokens']['create']['scopes'][number];

const SCOPES: Record<Scope, string> = {
  run: 'Run packages, which spends credits',
  read: 'Read sessions, credits and limits',
  billing: 'Buy credits, and change the subscription',
  publish: 'Publish packages',
  admin: 'Administer',
};

const refresh = () => queryClient.invalidateQueries(trpc.accounts.tokens.list.queryFilter());

export function Tokens({ isAdmin }: { isAdmin: boolean }) {
  const tokens = useQuery(trpc.accounts.tokens.list.queryOptions());
  const [isMaking, making] = useDisclosure(false);
  const [revoking, setRevoking] = useState<Token | null>(null);
  const all = tokens.data?.tokens ?? [];
  const live = all.filter((one) => !isOver(one));
  const over = all.filter(isOver);
  return (
    <section aria-labelledby="tokens">
      <Group justify="space-between" mb="xs">
        <Title order={2} size="h4" id="tokens">
          API tokens
        </Title>
        <Button size="compact-md" variant="default" leftSection={<IconPlus size={14} />} onClick={making.open}>
          New token
        </Button>
      </Group>
      <Text size="sm" c="dimmed">
        For the command line, and for programs of your own.
      </Text>
      <Fault of={tokens} />
      {tokens.isPending && <Skeleton height={120} mt="sm" />}
      {tokens.isSuccess && live.length === 0 && <Empty title="No tokens" />}
      <ul className={styles.list} aria-label="Tokens">
        {live.map((token) => (
          <Item key={token.id} token={token}>
            <Button
              size="compact-sm"
              variant="subtle"
              color="red"
              aria-label={`Revoke ${token.name}`}
              onClick={() => setRevoking(token)}
            >
              Revoke
            </Button>
          </Item>
        ))}
      </ul>
      {over.length > 0 && (
        <details>
          <summary>{over.length} that hold no longer</summary>
          <ul className={styles.list} aria-label="Tokens that hold no longer">
            {over.map((token) => (
              <Item key={token.id} token={token} />
            ))}
          </ul>
        </details>
      )}
      {isMaking && <NewToken isAdmin={isAdmin} onClose={making.close} />}
      {revoking !== null && <Revoke token={revoking} onClose={() => setRevoking(null)} />}
    </section>
  );
}

const isOver = ({ revokedAt, expiresAt }: Token) =>
  revokedAt !== null || (expiresAt !== null && new Date(expiresAt).getTime() <= Date.now());

function Item({ token, children }: { token: Token; children?: ReactNode }) {
  const { name, scopes, expiresAt, revokedAt, lastUsedAt, createdAt } = token;
  const end =
    revokedAt !== null
      ? `revoked ${day(revokedAt)}`
      : expiresAt === null
        ? 'never expires'
        : isOver(token)
          ? `expired ${day(expiresAt)}`
          : `until ${day(expiresAt)}`;
  return (
    <li className={styles.item}>
      <div>
        <Group gap="xs">
          <Text fw={600}>{name}</Text>
          {scopes.map((scope) => (
            <Badge key={scope} variant="default" tt="none" size="sm">
              {scope}
            </Badge>
          ))}
        </Group>
        <span className={styles.small}>
          made {day(createdAt)}; {end}; {lastUsedAt === null ? 'never used' : `last used ${ago(lastUsedAt)}`}
        </span>
      </div>
      {children}
    </li>
  );
}

const LIFE = { 30: '30 days', 90: '90 days', 365: 'a year', never: 'for ever' } as const;

/** Once there is a token to read, the dialog does not close by a click beside it. */
function NewToken({ isAdmin, onClose }: { isAdmin: boolean; onClose: () => void }) {
  const create = useMutation(trpc.accounts.tokens.create.mutationOptions({ onSuccess: refresh }));
  const isMade = create.data !== undefined;
  return (
    <Dialog
      onClose={onClose}
      title={isMade ? 'Your new token' : 'New token'}
      closeOnClickOutside={!isMade}
      closeOnEscape={!isMade}
    >
      {isMade ? (
        <Shown token={create.data.token} onClose={onClose} />
      ) : (
        <TokenForm
          isAdmin={isAdmin}
          isBusy={create.isPending}
          error={create.error}
          onMake={create.mutate}
          onClose={onClose}
        />
      )}
    </Dialog>
  );
}

type FormProps = {
  isAdmin: boolean;
  isBusy: boolean;
  error: unknown;
  onMake: (token: Inputs['accounts']['tokens']['create']) => void;
  onClose: () => void;
};

function TokenForm({ isAdmin, isBusy, error, onMake, onClose }: FormProps) {
  const [name, setName] = useState('');
  const [scopes, setScopes] = useState<string[]>(['run', 'read']);
  const [life, setLife] = useState<string>('90');
  const offered = Object.entries(SCOPES).filter(([scope]) => scope !== 'admin' || isAdmin);

  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        onMake({
          name,
          scopes: scopes.filter((scope): scope is Scope => Object.hasOwn(SCOPES, scope)),
          expiresAt: life === 'never' ? null : new Date(Date.now() + Number(life) * 86_400_000).toISOString(),
        });
      }}
    >
      <Stack>
        <TextInput
          data-autofocus
          required
          label="What it is for"
          placeholder="laptop"
          maxLength={100}
          value={name}
          onChange={(event) => setName(event.currentTarget.value)}
        />
        <Checkbox.Group label="What it may do" value={scopes} onChange={setScopes}>
          <Stack gap="xs" mt="xs">
            {offered.map(([scope, about]) => (
              <Checkbox key={scope} value={scope} label={scope} description={about} />
            ))}
          </Stack>
        </Checkbox.Group>
        <Select
          label="How long it holds"
          data={Object.entries(LIFE).map(([value, label]) => ({ value, label }))}
          value={life}
          onChange={(value) => setLife(value ?? '90')}
          allowDeselect={false}
        />
        {error !== null && <Refused error={error} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button type="submit" loading={isBusy} disabled={name.trim() === '' || scopes.length === 0}>
            Make it
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

/** The one time that it can be read. */
function Shown({ token, onClose }: { token: string; onClose: () => void }) {
  const first = useRef<HTMLButtonElement>(null);
  useEffect(() => first.current?.focus(), []);
  return (
    <Stack>
      <Alert color="yellow">It is shown this once. Keep it where passwords are kept.</Alert>
      <Code block style={{ overflowWrap: 'anywhere', whiteSpace: 'pre-wrap' }} aria-label="Token">
        {token}
      </Code>
      <Group justify="flex-end">
        <CopyButton value={token}>
          {({ copied, copy }) => (
            <Button ref={first} variant="default" onClick={copy}>
              {copied ? 'Copied' : 'Copy'}
            </Button>
          )}
        </CopyButton>
        <Button onClick={onClose}>I have it</Button>
      </Group>
    </Stack>
  );
}

function Revoke({ token: { id, name }, onClose }: { token: Token; onClose: () => void }) {
  const revoke = useMutation(
    trpc.accounts.tokens.revoke.mutationOptions({
      onSuccess: async () => {
        await refresh();
        onClose();
      },
    }),
  );
  return (
    <Dialog onClose={onClose} title={`Revoke “${name}”?`}>
      <Stack>
        <Text size="sm">What uses it is refused from now on. It cannot be taken back.</Text>
        {revoke.isError && <Refused error={revoke.error} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose} data-autofocus>
            Keep it
          </Button>
          <Button color="red" loading={revoke.isPending} onClick={() => revoke.mutate({ id })}>
            Revoke
          </Button>
        </Group>
      </Stack>
    </Dialog>
  );
}
