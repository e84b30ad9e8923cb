// A shared result: what was asked and answered, for anybody, without who it was.
import { Anchor, Badge, Button, Group, Skeleton, Stack, Text, Textarea, Title } from '@mantine/core';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { Link, useLocation, useParams } from 'wouter';
import { signInPath, useViewer } from '../accounts/viewer.ts';
import { packagePath } from '../catalog/path.ts';
import { keepDraft, pathToTry } from '../runs/ask.ts';
import columns from '../runs/compare.module.css';
import { Answer, Exchange } from '../runs/exchange.tsx';
import { credits, day, seconds, whole } from '../shell/format.ts';
import { IconDown, IconPlay, IconUp } from '../shell/icons.tsx';
import { problemOf } from '../shell/problem.ts';
import page from '../shell/states.module.css';
import { Empty, Fault, Refused } from '../shell/states.tsx';
import { useTitle } from '../shell/title.ts';
import { type Outputs, queryClient, trpc } from '../trpc.ts';
import styles from './shared.module.css';

type Shared = Outputs['sessions']['shared'];

export function SharedResult() {
  const { token = '' } = useParams<{ token: string }>();
  const shared = useQuery(
    trpc.sessions.shared.queryOptions({ shareToken: token }, { refetchOnWindowFocus: false, staleTime: 60_000 }),
  );
  useTitle(shared.data === undefined ? 'Shared result' : titleOf(shared.data));
  if (shared.data === undefined && shared.isError && problemOf(shared.error).status === 404)
    return (
      <div className={page.page}>
        <Empty isPage title="There is no such shared result">
          Whoever shared it may have ended the link.
          <br />
          <Button component={Link} href="/playground" mt="sm">
            To the playground
          </Button>
        </Empty>
      </div>
    );
  return (
    <Stack className={page.page} gap="lg">
      <Fault of={shared} />
      {shared.isPending && <Waiting />}
      {shared.data !== undefined && <Result shared={shared.data} token={token} />}
    </Stack>
  );
}

/** Its own, else the beginning of what was asked. */
function titleOf({ title, exchanges, sides }: Shared): string {
  const asked = (sides ?? exchanges)[0]?.question.trim().split('\n')[0] ?? '';
  return title || (asked.length > 80 ? `${asked.slice(0, 79)}…` : asked) || 'Shared result';
}

function Waiting() {
  return (
    <Stack role="status" aria-label="Loading">
      <Skeleton height={18} width="40%" />
      <Skeleton height={30} width="70%" />
      <Skeleton height={60} />
      <Skeleton height={220} />
    </Stack>
  );
}

function Result({ shared, token }: { shared: Shared; token: string }) {
  const { packageName, packageVersion, model, exchanges, sides, sharedAt, viewCount } = shared;
  const votes = shared.helpfulCount + shared.notHelpfulCount;
  return (
    <>
      <div>
        <Group gap="xs" mb="xs" component="nav" aria-label="Where this is">
          <Anchor component={Link} href="/packages" size="sm">
            Packages
          </Anchor>
          <span aria-hidden="true">/</span>
          <Anchor component={Link} href={packagePath(packageName)} size="sm">
            {packageName}
          </Anchor>
        </Group>
        <Title order={1} size="h3">
          {titleOf(shared)}
        </Title>
        <Group gap="xs" mt="xs">
          {sides === null ? (
            <Badge variant="light" color="gray" tt="none">
              {packageName} {packageVersion} · {model}
            </Badge>
          ) : (
            <Badge variant="light" color="gray" tt="none">
              {sides.length} side by side
            </Badge>
          )}
          <Text size="sm" c="dimmed">
            {whole(viewCount)} {viewCount === 1 ? 'view' : 'views'}
            {votes > 0 && ` · ${Math.round((100 * shared.helpfulCount) / votes)} % of ${whole(votes)} found it helpful`}
            {` · shared ${day(sharedAt)}`}
          </Text>
        </Group>
      </div>
      <Onwards shared={shared} token={token} />
      {sides !== null && <Sides sides={sides} />}
      <Stack gap="xl" component="section" aria-label="Conversation">
        {exchanges.map((one, nth) => (
          <Exchange
            // biome-ignore lint/suspicious/noArrayIndexKey: they have no ids, and do not change places
            key={nth}
            question={one.isSummary ? 'Summary of the conversation until here' : one.question}
            answer={one.answer}
            label={`${one.model} · ${one.baseline ? 'without the prompt' : one.packageVersion}`}
          >
            <Text size="xs" c="dimmed">
              {credits(one.creditsSpent)} · {whole(one.tokensUsed)} tokens
            </Text>
          </Exchange>
        ))}
      </Stack>
      <Vote shared={shared} token={token} />
    </>
  );
}

/** Of a comparison: one question, an answer of each side. */
function Sides({ sides }: { sides: NonNullable<Shared['sides']> }) {
  return (
    <Stack component="section" aria-label="Answers">
      <div className={columns.question}>{sides[0]?.question}</div>
      <div className={columns.sides} data-count={sides.length}>
        {sides.map((side, nth) => (
          <article
            // biome-ignore lint/suspicious/noArrayIndexKey: they have no ids, and do not change places
            key={nth}
            className={columns.column}
            aria-label={`Answer of side ${nth + 1}`}
          >
            <Answer
              answer={side.answer}
              label={`${side.model} · ${side.baseline ? 'without the prompt' : `${side.packageName} ${side.packageVersion}`}`}
              problem={side.answer === '' && <Text size="sm">This side brought no answer.</Text>}
            >
              <Text size="xs" c="dimmed">
                {credits(side.creditsSpent)} · {whole(side.tokensUsed)} tokens
                {side.durationMs !== null && ` · ${seconds(side.durationMs)}`}
              </Text>
            </Answer>
          </article>
        ))}
      </div>
    </Stack>
  );
}

/** What a reader may do with it: run the same, or go on from it. */
function Onwards({ shared, token }: { shared: Shared; token: string }) {
  const viewer = useViewer();
  const [, navigate] = useLocation();
  const fork = useMutation(
    trpc.sessions.fork.mutationOptions({
      onSuccess: async ({ sessionId }) => {
        await queryClient.invalidateQueries(trpc.sessions.list.pathFilter());
        navigate(`/playground?${new URLSearchParams({ session: sessionId, package: shared.packageName })}`);
      },
    }),
  );
  const first = shared.exchanges.find(({ isSummary }) => !isSummary);
  const tried = shared.sides ?? (first === undefined ? [] : [{ ...first, packageName: shared.packageName }]);
  const question = tried[0]?.question ?? '';
  const cost = tried.reduce((sum, { creditsSpent }) => sum + creditsSpent, 0);
  return (
    <Stack gap="xs" align="flex-start">
      <Group gap="xs">
        {tried.length > 0 && (
          <Button
            component={Link}
            href={pathToTry(tried, question)}
            onClick={() => keepDraft(question)}
            leftSection={<IconPlay size={14} />}
          >
            Run it yourself{cost > 0 && `, about ${credits(cost)}`}
          </Button>
        )}
        {first !== undefined &&
          (viewer === null ? (
            <Button component={Link} href={signInPath()} variant="default">
              Sign in to go on from here
            </Button>
          ) : (
            <Button variant="default" loading={fork.isPending} onClick={() => fork.mutate({ shareToken: token })}>
              Go on from here in a copy
            </Button>
          ))}
      </Group>
      {fork.isError && <Refused error={fork.error} />}
    </Stack>
  );
}

/** Sent as it is given, and changed as often as one likes. */
function Vote({ shared, token }: { shared: Shared; token: string }) {
  const [words, setWords] = useState('');
  const vote = useMutation(
    trpc.sessions.vote.mutationOptions({
      onSuccess: ({ helpfulCount, notHelpfulCount }, { isHelpful }) =>
        queryClient.setQueryData(
          trpc.sessions.shared.queryKey({ shareToken: token }),
          (now) => now && { ...now, helpfulCount, notHelpfulCount, myVote: isHelpful },
        ),
    }),
  );
  if (shared.isMine)
    return (
      <Text size="sm" c="dimmed" className={styles.vote}>
        This is yours. Others can say here whether it helped them: {whole(shared.helpfulCount)} yes,{' '}
        {whole(shared.notHelpfulCount)} no.
      </Text>
    );
  const { myVote } = shared;
  const give = (isHelpful: boolean) => vote.mutate({ shareToken: token, isHelpful });
  const hasSentWords = vote.isSuccess && vote.variables.feedbackText != null;
  return (
    <section aria-label="Your opinion" className={styles.vote}>
      <Group gap="xs">
        <Text fw={600} id="helpful">
          Was this result helpful?
        </Text>
        <Group gap="xs" role="group" aria-labelledby="helpful">
          <Button
            size="compact-md"
            variant={myVote === true ? 'filled' : 'default'}
            aria-pressed={myVote === true}
            leftSection={<IconUp size={16} />}
            onClick={() => give(true)}
          >
            Yes, {whole(shared.helpfulCount)}
          </Button>
          <Button
            size="compact-md"
            variant={myVote === false ? 'filled' : 'default'}
            aria-pressed={myVote === false}
            leftSection={<IconDown size={16} />}
            onClick={() => give(false)}
          >
            No, {whole(shared.notHelpfulCount)}
          </Button>
        </Group>
      </Group>
      {myVote !== null && (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            vote.mutate({ shareToken: token, isHelpful: myVote, feedbackText: words.trim() });
          }}
        >
          <Textarea
            label="A word about it, if you like"
            maxLength={1_000}
            autosize
            minRows={2}
            value={words}
            onChange={(event) => setWords(event.currentTarget.value)}
            mt="xs"
          />
          <Group justify="space-between" mt="xs">
            <Text size="sm" c="dimmed" role="status">
              {hasSentWords ? 'Thank you, it is sent.' : 'Your vote is counted. You can change it.'}
            </Text>
            <Button type="submit" size="compact-sm" loading={vote.isPending} disabled={words.trim() === ''}>
              Send
            </Button>
          </Group>
        </form>
      )}
      {vote.isError && <Refused error={vote.error} />}
    </section>
  );
}
