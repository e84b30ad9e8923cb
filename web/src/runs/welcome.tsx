// Where nothing was run yet: packages to take, inputs to begin with.
import { Anchor, Skeleton, Stack, Text, Title } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link } from 'wouter';
import { packagePath } from '../catalog/path.ts';
import { Fault } from '../shell/states.tsx';
import { trpc } from '../trpc.ts';
import { usePackage } from './choices.tsx';
import styles from './welcome.module.css';

export type Suggestion = { id: string; suggestedInput: string; recommendedModel: string | null };

type WelcomeProps = {
  packageName: string | null;
  onPackage: (name: string) => void;
  onInput: (suggestion: Suggestion) => void;
};

export function Welcome({ packageName, onPackage, onInput }: WelcomeProps) {
  return packageName === null ? (
    <Packages onPackage={onPackage} />
  ) : (
    <Beginnings packageName={packageName} onInput={onInput} />
  );
}

function Packages({ onPackage }: Pick<WelcomeProps, 'onPackage'>) {
  const some = useQuery(trpc.catalog.packages.search.queryOptions({ query: null, limit: 8 }));
  return (
    <Stack gap="sm" className={styles.welcome}>
      <Text>
        A package is a prompt that somebody has written well. Choose one, give it your text, and see what a model makes
        of it. The price stands on the button before you run.
      </Text>
      <Fault of={some} />
      <div className={styles.cards}>
        {some.isPending && [1, 2, 3, 4, 5, 6, 7, 8].map((nth) => <Skeleton key={nth} height={92} />)}
        {(some.data?.packages ?? []).map(({ name, description }) => (
          <button key={name} type="button" className={styles.card} onClick={() => onPackage(name)}>
            <strong>{name}</strong>
            <span>{description}</span>
          </button>
        ))}
      </div>
    </Stack>
  );
}

function Beginnings({ packageName, onInput }: { packageName: string } & Pick<WelcomeProps, 'onInput'>) {
  const found = usePackage(packageName);
  const inputs = found.data?.suggestedInputs ?? [];
  return (
    <Stack gap="sm" className={styles.welcome}>
      {found.isPending ? (
        <Skeleton height={24} />
      ) : (
        <Text>
          {found.data?.description}{' '}
          {found.data !== undefined && (
            <Anchor component={Link} href={packagePath(packageName)}>
              More about it
            </Anchor>
          )}
        </Text>
      )}
      {inputs.length > 0 && (
        <>
          <Title order={2} size="h6">
            Begin with one of these
          </Title>
          <div className={styles.cards}>
            {inputs.map((one) => (
              <button key={one.id} type="button" className={styles.card} onClick={() => onInput(one)}>
                <strong>{one.title}</strong>
                <span>{one.description ?? one.suggestedInput.slice(0, 120)}</span>
                <span className={styles.tag}>
                  {one.difficulty}
                  {one.recommendedModel !== null && ` · ${one.recommendedModel}`}
                </span>
              </button>
            ))}
          </div>
        </>
      )}
    </Stack>
  );
}
