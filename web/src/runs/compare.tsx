// Two to four packages, versions, models or prompts on one question, side by side.
import {
  ActionIcon,
  Button,
  Group,
  SegmentedControl,
  Skeleton,
  Stack,
  Switch,
  Text,
  VisuallyHidden,
} from '@mantine/core';
import { useDisclosure, useMediaQuery } from '@mantine/hooks';
import { useQuery } from '@tanstack/react-query';
import { memo, useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from 'react';
import { Link } from 'wouter';
import { type Model, useModels } from '../catalog/models.ts';
import { ShareComparison } from '../sessions/share-dialog.tsx';
import { IconPlus, IconShare, IconTrash } from '../shell/icons.tsx';
import { Refused } from '../shell/states.tsx';
import { useTitle } from '../shell/title.ts';
import { client, trpc } from '../trpc.ts';
import type { Ask, Side } from './ask.ts';
import { Choices, usePackage } from './choices.tsx';
import styles from './compare.module.css';
import {
  type ComparisonRequest,
  comparisonOf,
  type LiveComparison,
  liveOf,
  resumeComparison,
  startComparison,
  stopComparison,
} from './comparison.ts';
import { Composer } from './composer.tsx';
import { Differences, MarkedText } from './differences.tsx';
import { useEstimate } from './estimate.ts';
import { Answer } from './exchange.tsx';
import { Frame } from './frame.tsx';
import { type LiveRun, stopRun, useLive, useText } from './live.ts';
import { PriceLine, runLabel } from './price.tsx';
import { ReceiptLine, WhyCharged } from './receipt.tsx';
import { useStopKey } from './stop-key.ts';
import { Lost, spoken, Trouble } from './transcript.tsx';
import { missingOf, type Variable, VariablesForm, valuesOf, variablesOf } from './variables.tsx';

const MOST_SIDES = 4;

export function Compare({ ask }: { ask: Ask }) {
  const { sides, input, setInput, goTo } = ask;
  const models = useModels();
  const field = useRef<HTMLTextAreaElement>(null);
  const [isSharing, sharing] = useDisclosure(false);
  const { comparison, begin, error } = useComparison(ask);
  const whole = useLive(comparison?.whole ?? null);
  const isOver = whole === null || whole.phase === 'ended';
  const { request, variables, missing } = useRequest(ask, models);
  const {
    price,
    error: fault,
    isCurrent,
  } = useEstimate(isOver && missing === null ? request : null, estimateComparison);
  const stop = useCallback(() => comparison !== null && void stopComparison(comparison), [comparison]);
  const results = useRef<HTMLElement>(null);
  useEffect(() => {
    if (comparison !== null) results.current?.scrollIntoView({ block: 'start' });
  }, [comparison]);
  useStopKey(isOver ? null : stop);
  useTitle('Compare');

  const start = () => {
    if (request === null || !isOver) return;
    setInput('');
    begin(request);
    field.current?.focus();
  };
  const leave = useCallback(() => ask.setSides(1), [ask.setSides]);
  const length = input.trim().length;
  const refusal = isCurrent && length > 0 ? (price?.refusal ?? null) : null;
  const shown = length > 0 && missing === null ? price : undefined;

  return (
    <Frame
      isWide
      sessions={{ current: null, onNew: leave, onGone: nothing }}
      title="Compare"
      facts="One question for all of them; each is a run, and charged as one."
      tools={
        <>
          {ask.comparisonId !== null && isOver && whole?.problem === null && (
            <Button size="compact-sm" variant="default" leftSection={<IconShare size={16} />} onClick={sharing.open}>
              Share
            </Button>
          )}
          <Button size="compact-sm" variant="default" onClick={leave}>
            Stop comparing
          </Button>
        </>
      }
    >
      <div className={styles.sides} data-count={sides.length}>
        {sides.map((side, nth) => (
          <section
            // biome-ignore lint/suspicious/noArrayIndexKey: a side is its place
            key={nth}
            className={styles.side}
            aria-label={`Side ${nth + 1}`}
          >
            <Group justify="space-between" mb={4}>
              <Text size="xs" fw={600} c="dimmed">
                Side {nth + 1}
              </Text>
              {sides.length > 2 && (
                <ActionIcon
                  variant="subtle"
                  color="gray"
                  size="sm"
                  aria-label={`Remove side ${nth + 1}`}
                  onClick={() => ask.removeSide(nth)}
                >
                  <IconTrash size={14} />
                </ActionIcon>
              )}
            </Group>
            <Choices
              side={side}
              onChange={(change) => ask.chooseSide(nth, change)}
              models={models}
              model={modelOf(side, models)}
              isVisitor={false}
              mayWriteOwn={false}
              place={`side ${nth + 1}`}
            />
          </section>
        ))}
      </div>
      {sides.length < MOST_SIDES && (
        <div>
          <Button
            size="compact-sm"
            variant="subtle"
            leftSection={<IconPlus size={14} />}
            onClick={() => ask.setSides(sides.length + 1)}
          >
            Add a side
          </Button>
        </div>
      )}
      {variables.length > 0 && (
        <VariablesForm variables={variables} values={ask.variables} onChange={ask.setVariable} isContinued={false} />
      )}
      <section ref={results} className={styles.results} aria-label="Answers">
        {error !== null && <Refused error={error} retry={() => goTo({ comparisonId: null })} />}
        {ask.comparisonId !== null && comparison === null && error === null && <Skeleton height={200} />}
        {whole?.problem != null && (
          <Refused problem={whole.problem} retry={() => request === null && setInput(whole.question)} />
        )}
        {whole?.isLost === true && <Lost />}
        {comparison !== null && whole?.problem == null && <Results comparison={comparison} />}
      </section>
      <Composer
        input={input}
        onInput={setInput}
        field={field}
        state={isOver ? 'idle' : 'running'}
        missing={missing}
        label={runLabel(sides.length === 2 ? 'Run both' : `Run all ${sides.length}`, shown)}
        price={<PriceLine price={shown} isCurrent={isCurrent} error={fault} />}
        refusal={refusal}
        onRun={start}
        onStop={stop}
      />
      {isSharing && ask.comparisonId !== null && (
        <ShareComparison comparisonId={ask.comparisonId} onClose={sharing.close} />
      )}
    </Frame>
  );
}

const nothing = () => {};
const estimateComparison = (request: ComparisonRequest, signal: AbortSignal) =>
  client.runs.comparisons.estimate.mutate(request, { signal });

const modelOf = ({ model }: Side, models: readonly Model[]) =>
  model ?? models.find(({ isDefault }) => isDefault)?.alias ?? null;

/** What is to be run, and what is missing for it. */
function useRequest({ sides, input, variables: values }: Ask, models: readonly Model[]) {
  const [one, two, three, four] = sides;
  // As many as there can be, for hooks are counted.
  const known = [useVariables(one), useVariables(two), useVariables(three), useVariables(four)];
  const key = JSON.stringify(known);
  // biome-ignore lint/correctness/useExhaustiveDependencies: key stands for what is known
  return useMemo(() => {
    const all = known.flat();
    const variables = all.filter(({ name }, nth) => all.findIndex((other) => other.name === name) === nth);
    const empty = missingOf(variables, values);
    const text = input.trim();
    const missing = sides.some(({ packageName }) => packageName === null)
      ? 'Choose a package first'
      : empty === undefined
        ? null
        : `Fill in "${empty.title}" first`;
    const request: ComparisonRequest | null =
      text === '' || missing !== null
        ? null
        : {
            input: text,
            sides: sides.map((side, nth) => ({
              packageId: side.packageName,
              packageVersion: side.version,
              model: modelOf(side, models),
              ...(side.prompt === 'none' ? { useNoPrompt: true } : { variables: valuesOf(known[nth] ?? [], values) }),
            })),
          };
    return { request, variables, missing };
  }, [sides, input, values, models, key]);
}

function useVariables(side: Side | undefined): Variable[] {
  const found = usePackage(side?.packageName ?? null);
  const wanted = side?.version ?? found.data?.latestVersion;
  const version = found.data?.versions.find((one) => one.version === wanted);
  return useMemo(() => (side?.prompt === 'package' ? variablesOf(version?.variables) : []), [version, side?.prompt]);
}

/** The comparison that is shown: one that was begun here, or that the address names. */
function useComparison({ comparisonId, goTo }: Ask) {
  const [comparison, setComparison] = useState<LiveComparison | null>(null);
  const shownId = useRef<string | null>(null);
  const isThere = useRef(true);
  const stored = useQuery(
    trpc.runs.comparisons.read.queryOptions(
      { comparisonId: comparisonId ?? '' },
      { enabled: comparisonId !== null && shownId.current !== comparisonId },
    ),
  );
  const onBegun = useCallback(
    (id: string) => {
      shownId.current = id;
      if (isThere.current) goTo({ comparisonId: id });
    },
    [goTo],
  );
  const begin = useCallback(
    (request: ComparisonRequest) => setComparison(startComparison(request, onBegun)),
    [onBegun],
  );

  useLayoutEffect(() => {
    isThere.current = true;
    const resumed = resumeComparison(onBegun);
    if (resumed !== null) setComparison(resumed);
    return () => {
      isThere.current = false;
    };
  }, [onBegun]);
  useEffect(() => {
    if (comparisonId === shownId.current) return;
    const known = comparisonId === null ? null : comparisonOf(comparisonId);
    const found = known ?? (stored.data?.comparisonId === comparisonId ? liveOf(stored.data) : null);
    if (comparisonId !== null && found === null) return;
    shownId.current = comparisonId;
    setComparison(found);
  }, [comparisonId, stored.data]);
  return { comparison, begin, error: comparisonId === shownId.current ? null : stored.error };
}

/** Columns where there is room, else one at a time. */
const Results = memo(function Results({ comparison }: { comparison: LiveComparison }) {
  const { question, whole, sides } = comparison;
  const isNarrow = useMediaQuery('(max-width: 48em)');
  const [tab, setTab] = useState('0');
  const [isMarked, setMarked] = useState(false);
  const isOver = useLive(whole)?.phase === 'ended';
  const [first] = sides;
  const shown = isNarrow ? sides.filter((_, nth) => nth === Number(tab)) : sides;
  return (
    <Stack gap="md">
      <div className={styles.question}>{question}</div>
      {isNarrow && (
        <SegmentedControl
          aria-label="Side"
          fullWidth
          data={sides.map((_, nth) => ({ value: String(nth), label: `Side ${nth + 1}` }))}
          value={tab}
          onChange={setTab}
        />
      )}
      <div className={styles.sides} data-count={sides.length}>
        {shown.map((side) => (
          <Column
            key={side.live().runId ?? sides.indexOf(side)}
            run={side}
            place={sides.indexOf(side) + 1}
            against={isMarked && isOver && side !== first ? (first ?? null) : null}
          />
        ))}
      </div>
      {isOver && (
        <>
          <Switch
            size="xs"
            label="Mark the words that differ from side 1"
            checked={isMarked}
            onChange={(event) => setMarked(event.currentTarget.checked)}
          />
          <Differences sides={sides} />
        </>
      )}
      <VisuallyHidden role="status">
        {sides.map((side, nth) => `Side ${nth + 1}: ${spoken(side.live())}. `).join('')}
      </VisuallyHidden>
    </Stack>
  );
});

function Column({ run, place, against }: { run: LiveRun; place: number; against: LiveRun | null }) {
  const live = useLive(run);
  const text = useText(run);
  if (live === null) return null;
  const { phase, receipt, sessionId } = live;
  const isOver = phase === 'ended';
  return (
    <article className={styles.column} aria-label={`Answer of side ${place}`}>
      {against !== null && text !== '' ? (
        <MarkedText before={against.text()} after={text} />
      ) : (
        <Answer
          answer={text}
          isPartial={!isOver}
          label={
            receipt === null
              ? isOver
                ? 'Ended'
                : 'Generating'
              : `${receipt.model} · ${receipt.baseline ? 'without the prompt' : receipt.packageVersion}`
          }
          problem={<Trouble live={live} onAgain={null} />}
        />
      )}
      <div className={styles.below}>
        {receipt !== null && <ReceiptLine receipt={receipt} />}
        {receipt !== null && <WhyCharged runId={receipt.runId} />}
        {isOver && sessionId !== null && receipt !== null && text !== '' && (
          <Button
            component={Link}
            href={`/playground?${new URLSearchParams({ session: sessionId, model: receipt.model })}`}
            size="compact-xs"
            variant="subtle"
          >
            Go on with this one
          </Button>
        )}
        {!isOver && live.runId !== null && (
          <Button
            size="compact-xs"
            variant="subtle"
            color="red"
            loading={phase === 'stopping'}
            onClick={() => void stopRun(run)}
          >
            Stop side {place}
          </Button>
        )}
      </div>
    </article>
  );
}
