// Trying a package: choose it, see the price, run it, go on.
import { ActionIcon, Button, Menu, Skeleton, Text } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { useQuery } from '@tanstack/react-query';
import { Suspense, useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from 'react';
import { useSearchParams } from 'wouter';
import { useViewer } from '../accounts/viewer.ts';
import { useModels } from '../catalog/models.ts';
import { exportSession } from '../sessions/export.ts';
import { OWN_PROMPTS } from '../sessions/path.ts';
import { ShareSession } from '../sessions/share-dialog.tsx';
import { credits } from '../shell/format.ts';
import { IconMore, IconShare } from '../shell/icons.tsx';
import { lazyPart } from '../shell/online.ts';
import { Fault, Loading, Refused } from '../shell/states.tsx';
import { useTitle } from '../shell/title.ts';
import { client, type Outputs, queryClient, trpc } from '../trpc.ts';
import { type Ask, useAsk } from './ask.ts';
import { Choices, usePackage } from './choices.tsx';
import { Composer } from './composer.tsx';
import { useEstimate } from './estimate.ts';
import { Frame } from './frame.tsx';
import {
  forgetVisit,
  type Live,
  type LiveRun,
  type Request,
  resumeStart,
  resumeVisit,
  runIn,
  type Start,
  startRun,
  startVisit,
  stopRun,
  takeUpRun,
  useLive,
} from './live.ts';
import { OwnPrompt, useCustomPrompts } from './own-prompt.tsx';
import styles from './playground.module.css';
import { PriceLine, runLabel } from './price.tsx';
import { useStopKey } from './stop-key.ts';
import { Summarise } from './summarise.tsx';
import { Transcript } from './transcript.tsx';
import { missingOf, VariablesForm, valuesOf, variablesOf } from './variables.tsx';
import { type Suggestion, Welcome } from './welcome.tsx';

const LOOK_MS = 1_000;

type Session = Outputs['sessions']['read'];
type Offer = Outputs['runs']['offer'];

const Compare = lazyPart(() => import('./compare.tsx').then((file) => file.Compare));

export function Playground() {
  const viewer = useViewer();
  const ask = useAsk();
  if (viewer === undefined) return <Loading />;
  const whose = viewer?.userId ?? 'visitor';
  // A visitor has one run: nothing to compare it with.
  if (viewer !== null && ask.sides.length > 1)
    return (
      <Suspense fallback={<Loading />}>
        <Compare key={whose} ask={ask} />
      </Suspense>
    );
  return <Workbench key={whose} ask={ask} isVisitor={viewer === null} />;
}

function Workbench({ ask, isVisitor }: { ask: Ask; isVisitor: boolean }) {
  const { first, sessionId, input, setInput, chooseSide, goTo } = ask;
  const { packageName } = first;
  const field = useRef<HTMLTextAreaElement>(null);
  const [isSharing, sharing] = useDisclosure(false);
  const [dropOldest, setDropOldest] = useState(false);
  // biome-ignore lint/correctness/useExhaustiveDependencies: said of one session
  useEffect(() => setDropOldest(false), [sessionId]);

  const session = useQuery(
    trpc.sessions.read.queryOptions(
      { sessionId: sessionId ?? '' },
      {
        enabled: sessionId !== null && !isVisitor,
        refetchOnWindowFocus: true,
        // What has just begun elsewhere is in the session as soon as there is something of it.
        refetchInterval: ({ state: { data } }) => (isHidden(data) ? LOOK_MS : false),
      },
    ),
  );
  const { run, begin, clear } = useRun({ isVisitor, sessionId, goTo, session: session.data });
  const live = useLive(run);
  const state = live === null || live.phase === 'ended' ? 'idle' : live.phase === 'stopping' ? 'stopping' : 'running';

  const models = useModels();
  const offer = useQuery(trpc.runs.offer.queryOptions(undefined, { enabled: isVisitor })).data;
  const customPrompts = useCustomPrompts(isVisitor);
  const rules = customPrompts.data;
  const standard = models.find(({ isDefault }) => isDefault)?.alias ?? null;
  const model = isVisitor ? (offer?.model ?? null) : (first.model ?? session.data?.model ?? standard);
  const isOwn = (first.prompt === 'own' || session.data?.packageName === OWN_PROMPTS) && rules?.available === true;
  const known = isOwn ? null : (packageName ?? session.data?.packageName ?? null);
  const found = usePackage(known);
  const version = found.data?.versions.find((one) => one.version === (first.version ?? found.data?.latestVersion));
  const variables = useMemo(
    () => (first.prompt === 'package' ? variablesOf(version?.variables) : []),
    [version, first.prompt],
  );
  const isContinued = sessionId !== null;
  const isKnown = useOnce(
    live !== null ||
      !(
        (!isVisitor && isContinued && session.isPending) ||
        (!isVisitor && (isContinued || first.prompt === 'own') && customPrompts.isPending) ||
        (known !== null && found.isPending)
      ),
  );

  const request = useMemo((): Request | null => {
    const text = input.trim();
    const own = ask.ownPrompt.trim();
    if (text === '' || (isOwn ? own === '' : packageName === null && sessionId === null)) return null;
    return {
      input: text,
      sessionId,
      model,
      ...(isOwn
        ? { customPrompt: own }
        : { packageId: packageName, packageVersion: first.version, variables: valuesOf(variables, ask.variables) }),
      ...(first.prompt === 'none' && { useNoPrompt: true }),
      ...(dropOldest && { dropOldest: true }),
    };
  }, [
    input,
    packageName,
    first.version,
    first.prompt,
    model,
    sessionId,
    isOwn,
    ask.ownPrompt,
    ask.variables,
    variables,
    dropOldest,
  ]);
  const empty = isContinued ? undefined : missingOf(variables, ask.variables);
  const missing = isOwn
    ? ask.ownPrompt.trim() === '' && 'Write your prompt first'
    : packageName === null && sessionId === null
      ? 'Choose a package first'
      : empty !== undefined && `Fill in "${empty.title}" first`;
  const isPriced = !isVisitor && state === 'idle' && missing === false;
  const { price: estimate, error, isCurrent } = useEstimate(isPriced ? request : null, estimateRun);

  const go = (start: Start) => {
    begin(start);
    field.current?.focus();
  };
  const start = () => {
    if (request === null || state !== 'idle') return;
    setInput('');
    go({ request });
  };
  const again = () => {
    if (live !== null && input.trim() === '') setInput(live.question);
    clear();
    field.current?.focus();
  };
  const startNew = useCallback(() => {
    clear();
    goTo({ sessionId: null });
    field.current?.focus();
  }, [clear, goTo]);
  const tried = useTriedInput(live);
  const take = ({ id, suggestedInput, recommendedModel }: Suggestion) => {
    tried(id);
    if (recommendedModel !== null && !isVisitor) chooseSide(0, { model: recommendedModel });
    setInput(suggestedInput);
    field.current?.focus();
  };
  useStopKey(useMemo(() => (run === null ? null : () => void stopRun(run)), [run]));
  useTitle(session.data?.title ?? packageName ?? 'Playground');

  const onGone = useCallback(
    (id: string) => {
      if (id === new URLSearchParams(window.location.search).get('session')) startNew();
    },
    [startNew],
  );
  const length = input.trim().length;
  const refusal = isVisitor ? (offer?.refusal ?? null) : isCurrent && length > 0 ? (estimate?.refusal ?? null) : null;
  const price = length > 0 && missing === false ? estimate : undefined;

  return (
    <Frame
      sessions={isVisitor ? null : { current: sessionId, onNew: startNew, onGone }}
      title={session.data?.title ?? 'Try a package'}
      facts={session.data === undefined ? null : factsOf(session.data)}
      tools={
        <>
          {!isVisitor && !isContinued && (
            <Button size="compact-sm" variant="default" onClick={() => ask.setSides(2)}>
              Compare
            </Button>
          )}
          {sessionId !== null && session.data?.isMine && <SessionTools sessionId={sessionId} onShare={sharing.open} />}
        </>
      }
    >
      {isKnown ? (
        <>
          <Choices
            side={isOwn ? { ...first, packageName: null, prompt: 'own' } : first}
            onChange={(change) => chooseSide(0, change)}
            models={models}
            model={model}
            isVisitor={isVisitor}
            fixed={isContinued ? (session.isError ? (known ?? '–') : known) : undefined}
            mayWriteOwn={rules?.available === true}
          />
          {isOwn && rules !== undefined && (
            <OwnPrompt rules={rules} value={ask.ownPrompt} onChange={ask.setOwnPrompt} />
          )}
          {variables.length > 0 && !isOwn && (
            <VariablesForm
              variables={variables}
              values={ask.variables}
              onChange={ask.setVariable}
              isContinued={isContinued}
            />
          )}

          <section className={styles.transcript} aria-label="Conversation">
            {session.data === undefined && session.isError ? (
              <Refused error={session.error} retry={() => void session.refetch()}>
                <Button size="compact-sm" onClick={startNew}>
                  New session
                </Button>
              </Refused>
            ) : (
              <Fault of={session} />
            )}
            {isContinued && session.isPending && live === null && !isVisitor && <Skeleton height={160} />}
            <Transcript session={session.data} run={run} isVisitor={isVisitor} packageName={known} onAgain={again} />
            {live === null && !isContinued && !isOwn && (
              <Welcome
                packageName={packageName}
                onPackage={(name) => chooseSide(0, { packageName: name, version: null })}
                onInput={take}
              />
            )}
          </section>
        </>
      ) : (
        <div className={styles.coming} role="status" aria-label="Loading">
          <Skeleton height={100} />
          <Skeleton height={160} />
        </div>
      )}

      <Composer
        input={input}
        onInput={setInput}
        field={field}
        state={state}
        missing={missing === false ? null : missing}
        label={isVisitor ? 'Run, once for free' : runLabel('Run', price)}
        price={
          isVisitor ? <VisitLine offer={offer} /> : <PriceLine price={price} isCurrent={isCurrent} error={error} />
        }
        refusal={refusal}
        waysOn={
          sessionId !== null &&
          hasWaysOn(refusal) && (
            <>
              <Button size="compact-sm" onClick={() => setDropOldest(true)}>
                Leave out the oldest exchanges
              </Button>
              <Summarise sessionId={sessionId} model={model} onStart={() => go({ summaryOf: { sessionId, model } })} />
              <Button size="compact-sm" variant="default" onClick={startNew}>
                New session
              </Button>
            </>
          )
        }
        onRun={start}
        onStop={() => run !== null && void stopRun(run)}
      />
      {isSharing && sessionId !== null && <ShareSession sessionId={sessionId} onClose={sharing.close} />}
    </Frame>
  );
}

/** Whether something was so at any time from the first look on. */
function useOnce(isSo: boolean): boolean {
  const [wasSo, setWasSo] = useState(isSo);
  if (isSo && !wasSo) setWasSo(true);
  return isSo || wasSo;
}

type RunProps = {
  isVisitor: boolean;
  sessionId: string | null;
  goTo: Ask['goTo'];
  session: Session | undefined;
};

/** Which suggested input was taken, and whether a run of it came to an answer: what its author learns of it. Spec 10.4. */
function useTriedInput(live: Live | null): (id: string) => void {
  const usage = useRef<Promise<string | null> | null>(null);
  const sessionId = live?.receipt?.status === 'completed' ? live.sessionId : null;
  useEffect(() => {
    const taken = usage.current;
    if (sessionId === null || taken === null) return;
    usage.current = null;
    const tell = async () => {
      const usageId = await taken;
      if (usageId !== null) await client.catalog.suggestedInputs.complete.mutate({ usageId, sessionId });
    };
    tell().catch(() => undefined); // nothing that a reader would miss
  }, [sessionId]);
  const tried = useCallback((id: string) => {
    usage.current = client.catalog.suggestedInputs.use.mutate({ suggestedInputId: id }).then(
      ({ usageId }) => usageId,
      () => null,
    );
  }, []);
  // One that was taken on the package's page.
  const [query, setQuery] = useSearchParams();
  const suggested = query.get('suggested');
  useEffect(() => {
    if (suggested === null) return;
    tried(suggested);
    setQuery(
      (now) => {
        now.delete('suggested');
        return now;
      },
      { replace: true },
    );
  }, [suggested, tried, setQuery]);
  return tried;
}

const estimateRun = (request: Request, signal: AbortSignal) => client.runs.estimate.mutate(request, { signal });

/** The run that is shown: one that was begun here, or that goes on in the session that is looked at. */
function useRun({ isVisitor, sessionId, goTo, session }: RunProps) {
  const [run, setRun] = useState<LiveRun | null>(null);
  const live = useLive(run);
  const now = useRef({ sessionId, isThere: true });
  now.current.sessionId = sessionId;

  const onBegun = useCallback(
    (id: string) => {
      void queryClient.invalidateQueries(trpc.sessions.pathFilter());
      const { sessionId: current, isThere } = now.current;
      if (isThere && current !== id) goTo({ sessionId: id });
    },
    [goTo],
  );
  const begin = useCallback(
    (start: Start) => setRun(isVisitor && 'request' in start ? startVisit(start.request) : startRun(start, onBegun)),
    [isVisitor, onBegun],
  );
  const clear = useCallback(() => {
    if (isVisitor) forgetVisit();
    setRun(null);
  }, [isVisitor]);

  // As the page opens: what goes on, and what a reload cut short.
  useLayoutEffect(() => {
    const { sessionId: current } = now.current;
    now.current.isThere = true;
    const found = isVisitor ? resumeVisit() : ((current === null ? null : runIn(current)) ?? resumeStart(onBegun));
    setRun((shown) => shown ?? found);
    return () => {
      now.current.isThere = false;
    };
  }, [isVisitor, onBegun]);

  // What goes on elsewhere is followed here, too: after a reload, in a second tab.
  const going = session?.exchanges.find(({ status, runId }) => status === 'running' && runId !== null);
  useEffect(() => {
    if (going?.runId == null || session === undefined || session.id !== sessionId) return;
    const found = { runId: going.runId, sessionId: session.id, question: going.question };
    setRun((shown) => (shown !== null && shown.live().runId === found.runId ? shown : takeUpRun(found)));
  }, [going, session, sessionId]);
  // Another session's run goes on, but is not shown here; nor is one that never began.
  const belongsTo = live?.sessionId ?? null;
  const isSettling = live !== null && live.phase !== 'ended' && live.runId === null;
  useEffect(() => {
    if (isVisitor || isSettling || belongsTo === sessionId) return;
    setRun(sessionId === null ? null : runIn(sessionId));
  }, [isVisitor, isSettling, belongsTo, sessionId]);
  return { run, begin, clear };
}

/** Whether a run goes on of which nothing is stored yet. */
const isHidden = (session: Session | undefined) =>
  session?.lastStatus === 'running' && session.exchanges.every(({ status }) => status !== 'running');

function factsOf({ runCount, creditsSpent }: Session): string {
  return `${runCount} ${runCount === 1 ? 'run' : 'runs'} · ${credits(creditsSpent)}`;
}

/** Whether a conversation has become too long, and can go on shorter. */
const hasWaysOn = (refusal: { details?: Record<string, unknown> | undefined } | null) =>
  Array.isArray(refusal?.details?.waysOn ?? refusal?.details?.ways_on);

function SessionTools({ sessionId, onShare }: { sessionId: string; onShare: () => void }) {
  return (
    <>
      <Button size="compact-sm" variant="default" leftSection={<IconShare size={16} />} onClick={onShare}>
        Share
      </Button>
      <Menu position="bottom-end">
        <Menu.Target>
          <ActionIcon variant="default" size={26} aria-label="More about this session">
            <IconMore size={16} />
          </ActionIcon>
        </Menu.Target>
        <Menu.Dropdown>
          <Menu.Item onClick={() => void exportSession(sessionId, 'markdown')}>Export as Markdown</Menu.Item>
          <Menu.Item onClick={() => void exportSession(sessionId, 'json')}>Export as JSON</Menu.Item>
        </Menu.Dropdown>
      </Menu>
    </>
  );
}

/** What a visitor gets, before they use it. */
function VisitLine({ offer }: { offer: Offer | undefined }) {
  if (offer === undefined) return <Text size="sm">&nbsp;</Text>;
  return (
    <Text size="sm">
      One run a month is free without an account, with {offer.model}. With one you begin with{' '}
      {credits(offer.signupCredits)}.
    </Text>
  );
}
