// What others have made of a package and shared. Its authors may put some first.
import { Badge, Button, Group, SegmentedControl, Skeleton, Stack, Text, Textarea, Title } from '@mantine/core';
import { keepPreviousData, useMutation, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { Link } from 'wouter';
import styles from '../catalog/packages.module.css';
import { Dialog } from '../shell/dialog.tsx';
import { ago, credits, whole } from '../shell/format.ts';
import { useInAddress } from '../shell/in-address.ts';
import { Empty, Fault, Refused } from '../shell/states.tsx';
import { type Outputs, queryClient, trpc } from '../trpc.ts';

type Result = Outputs['sessions']['results']['results'][number];

const SORTS = { popular: 'Popular', recent: 'Recent', helpful: 'Helpful' } as const;
type Sort = keyof typeof SORTS;
const isSort = (word: string): word is Sort => Object.hasOwn(SORTS, word);

type ResultsProps = { packageName: string; mayFeature: boolean };

export function Results({ packageName, mayFeature }: ResultsProps) {
  const [asked, setSort] = useInAddress('sort', 'popular');
  const sort = isSort(asked) ? asked : 'popular';
  const input = { packageId: packageName, limit: 20 };
  const featured = useQuery(trpc.sessions.results.queryOptions({ ...input, sort: 'featured' }));
  const found = useQuery(trpc.sessions.results.queryOptions({ ...input, sort }, { placeholderData: keepPreviousData }));
  const chosen = featured.data?.results ?? [];
  const others = (found.data?.results ?? []).filter(({ isFeatured }) => !isFeatured);
  return (
    <Stack>
      {chosen.length > 0 && (
        <section aria-labelledby="featured">
          <Title order={2} size="h5" id="featured" mb="xs">
            Chosen by its authors
          </Title>
          <ul className={styles.list}>
            {chosen.map((one) => (
              <Item key={one.shareToken} result={one} mayFeature={mayFeature} />
            ))}
          </ul>
        </section>
      )}
      <Group justify="space-between">
        <Title order={2} size="h5">
          Shared by others
        </Title>
        <SegmentedControl
          aria-label="Order"
          size="xs"
          data={Object.entries(SORTS).map(([value, label]) => ({ value, label }))}
          value={sort}
          onChange={setSort}
        />
      </Group>
      <Fault of={found} />
      {found.isPending && [1, 2, 3].map((nth) => <Skeleton key={nth} height={120} />)}
      {found.isSuccess && others.length === 0 && (
        <Empty title={chosen.length > 0 ? 'No others yet' : 'Nobody has shared a result yet'}>
          Run it, and share what comes out.
        </Empty>
      )}
      <ul className={styles.list}>
        {others.map((one) => (
          <Item key={one.shareToken} result={one} mayFeature={mayFeature} />
        ))}
      </ul>
    </Stack>
  );
}

function Item({ result, mayFeature }: { result: Result; mayFeature: boolean }) {
  const { shareToken, userInput, assistantResponse, model, packageVersion, viewCount, helpfulnessRatio } = result;
  const [isFeaturing, setFeaturing] = useState(false);
  const question = userInput ?? 'A conversation';
  return (
    <li className={styles.card}>
      {result.isFeatured && <Badge tt="none">Chosen</Badge>}
      {result.featureDescription !== null && <Text size="sm">{result.featureDescription}</Text>}
      <Text fw={600} lineClamp={2}>
        {question}
      </Text>
      <Text size="sm" c="dimmed" lineClamp={3}>
        {assistantResponse}
      </Text>
      <div className={styles.facts}>
        <span>{model}</span>
        <span>{packageVersion}</span>
        <span>{credits(result.creditsSpent)}</span>
        <span>
          {whole(viewCount)} {viewCount === 1 ? 'view' : 'views'}
        </span>
        {helpfulnessRatio !== null && <span>{Math.round(100 * helpfulnessRatio)} % found it helpful</span>}
        <span>{ago(result.sharedAt)}</span>
      </div>
      <Group gap="xs">
        <Button
          component={Link}
          href={`/playground/shared/${encodeURIComponent(shareToken)}`}
          size="compact-sm"
          variant="light"
          aria-label={`Read it: ${question.slice(0, 60)}`}
        >
          Read it
        </Button>
        {mayFeature && (
          <Button size="compact-sm" variant="subtle" onClick={() => setFeaturing(true)}>
            {result.isFeatured ? 'Change' : 'Choose it'}
          </Button>
        )}
      </Group>
      {isFeaturing && <Feature result={result} onClose={() => setFeaturing(false)} />}
    </li>
  );
}

/** Authors put a result before the others, and say why. */
function Feature({ result, onClose }: { result: Result; onClose: () => void }) {
  const [why, setWhy] = useState(result.featureDescription ?? '');
  const feature = useMutation(
    trpc.sessions.feature.mutationOptions({
      onSuccess: async () => {
        await queryClient.invalidateQueries(trpc.sessions.results.pathFilter());
        onClose();
      },
    }),
  );
  const send = (isFeatured: boolean) =>
    feature.mutate({
      result: result.shareToken,
      isFeatured,
      ...(isFeatured && why.trim() !== '' && { featureDescription: why }),
    });
  return (
    <Dialog onClose={onClose} title="Choose this result">
      <Stack>
        <Text size="sm">It stands before the others, with what you say about it.</Text>
        <Textarea
          data-autofocus
          label="What is good about it"
          maxLength={500}
          autosize
          minRows={2}
          value={why}
          onChange={(event) => setWhy(event.currentTarget.value)}
        />
        {feature.isError && <Refused error={feature.error} />}
        <Group justify="space-between">
          {result.isFeatured ? (
            <Button variant="subtle" color="red" loading={feature.isPending} onClick={() => send(false)}>
              Choose it no longer
            </Button>
          ) : (
            <span />
          )}
          <Button loading={feature.isPending} onClick={() => send(true)}>
            {result.isFeatured ? 'Save' : 'Choose it'}
          </Button>
        </Group>
      </Stack>
    </Dialog>
  );
}
