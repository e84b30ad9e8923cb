// What was asked and answered, and the run that goes on.
import { Alert, Badge, Button, Stack, Text } from '@mantine/core';
import { memo, type ReactNode, useEffect, useRef } from 'react';
import { Link } from 'wouter';
import { signInPath } from '../accounts/viewer.ts';
import { Feedback } from '../sessions/feedback.tsx';
import { OWN_PROMPTS } from '../sessions/path.ts';
import { credits, seconds, whole } from '../shell/format.ts';
import { Refused } from '../shell/states.tsx';
import type { Outputs } from '../trpc.ts';
import { snippetsOf } from './as-code.ts';
import { Ended, Exchange } from './exchange.tsx';
import { type Live, type LiveRun, useLive, useText } from './live.ts';
import { ReceiptLine, WhyCharged } from './receipt.tsx';

type Session = Outputs['sessions']['read'];
type Stored = Session['exchanges'][number];

type TranscriptProps = {
  session: Session | undefined;
  run: LiveRun | null;
  isVisitor: boolean;
  packageName: string | null;
  onAgain: () => void;
};

export function Transcript({ session, run, isVisitor, packageName, onAgain }: TranscriptProps) {
  const live = useLive(run);
  const stored = session?.exchanges ?? [];
  const place = live?.runId == null ? -1 : stored.findIndex(({ runId }) => runId === live.runId);
  const inSession = session?.packageName ?? null;
  const name = packageName ?? (inSession === OWN_PROMPTS ? null : inSession);
  const shown = run !== null && (
    <LiveExchange key="live" run={run} index={place} isVisitor={isVisitor} packageName={name} onAgain={onAgain} />
  );
  return (
    <>
      {stored.map((exchange, nth) =>
        nth === place ? (
          shown
        ) : (
          <StoredExchange
            key={exchange.runId ?? nth}
            exchange={exchange}
            index={nth}
            sessionId={session?.id ?? ''}
            packageName={name}
          />
        ),
      )}
      {place === -1 && shown}
      <Follow run={run} />
    </>
  );
}

/** What ended runs, in words. */
const REASONS: Record<string, string> = {
  provider_timeout: 'The model did not answer in time.',
  provider_unavailable: 'The model’s provider was not available.',
  provider_error: 'The model’s provider refused the request.',
  provider_not_configured: 'This model cannot be reached from here.',
  shutting_down: 'The server had to stop before the answer was complete.',
};

const reasonOf = (error: string | null) => (error === null ? '' : (REASONS[error] ?? error.replaceAll('_', ' ')));
const FAILED = new Set(['failed', 'released', 'expired']);

type StoredProps = { exchange: Stored; index: number; sessionId: string; packageName: string | null };

const StoredExchange = memo(function StoredExchange({ exchange, index, sessionId, packageName }: StoredProps) {
  const { runId, isCopy, isSummary, question, answer, status, model, packageVersion, baseline } = exchange;
  const { creditsSpent, tokensUsed, durationMs, error } = exchange;
  return (
    <Exchange
      question={isSummary ? 'Summary of the conversation until here' : question}
      answer={answer}
      label={labelOf(exchange)}
      {...(packageName !== null && {
        asCode: snippetsOf({ packageName, version: packageVersion, model, input: question, baseline }),
      })}
      problem={
        FAILED.has(status) &&
        (status !== 'released' || error !== null) && (
          <Ended
            title={status === 'expired' ? 'The server was gone before the answer was complete' : 'The run failed'}
            message={reasonOf(error)}
            isCharged={creditsSpent > 0}
          />
        )
      }
    >
      <Text size="xs" c="dimmed">
        {isCopy
          ? 'Copied from what somebody shared'
          : [
              creditsSpent === 0 ? 'Not charged' : credits(creditsSpent),
              `${whole(tokensUsed)} tokens`,
              durationMs !== null && seconds(durationMs),
              status === 'stopped' && 'stopped',
            ]
              .filter((part) => part !== false)
              .join(' · ')}
      </Text>
      {runId !== null && <WhyCharged runId={runId} />}
      {runId !== null && answer !== '' && (
        <Feedback sessionId={sessionId} exchangeIndex={index} isEffective={exchange.isEffective} />
      )}
    </Exchange>
  );
});

function labelOf({ model, packageVersion, baseline, isSummary }: Stored): string {
  const prompt = isSummary ? 'summary' : baseline ? 'without the prompt' : packageVersion;
  return `${model} · ${prompt}`;
}

/** `index`: its place in the session, -1 while that is not known. */
type LiveProps = {
  run: LiveRun;
  index: number;
  isVisitor: boolean;
  packageName: string | null;
  onAgain: () => void;
};

function LiveExchange({ run, index, isVisitor, packageName, onAgain }: LiveProps) {
  const live = useLive(run);
  const text = useText(run);
  if (live === null) return null;
  const { phase, question, receipt, problem, isLost } = live;
  const label =
    receipt !== null
      ? `${receipt.model} · ${receipt.baseline ? 'without the prompt' : receipt.packageVersion}`
      : phase === 'ended'
        ? undefined
        : PHASES[phase];
  return (
    <Exchange
      question={question}
      answer={text}
      isPartial={phase !== 'ended'}
      {...(label !== undefined && { label })}
      {...(receipt !== null &&
        packageName !== null && {
          asCode: snippetsOf({
            packageName,
            version: receipt.packageVersion,
            model: receipt.model,
            input: question,
            baseline: receipt.baseline,
          }),
        })}
      problem={<Trouble live={live} onAgain={onAgain} />}
    >
      {isLost && <Lost />}
      {receipt !== null && !isVisitor && <ReceiptLine receipt={receipt} />}
      {receipt !== null && !isVisitor && <WhyCharged runId={receipt.runId} />}
      {index >= 0 && live.sessionId !== null && receipt !== null && text !== '' && (
        <Feedback sessionId={live.sessionId} exchangeIndex={index} isEffective={null} />
      )}
      {receipt?.status === 'stopped' && (
        <Badge variant="light" color="gray" tt="none">
          Stopped: only what was made until then is charged
        </Badge>
      )}
      {isVisitor && phase === 'ended' && problem === null && <SignUp />}
    </Exchange>
  );
}

const PHASES = { starting: 'Starting', generating: 'Generating', stopping: 'Stopping' };

export function Lost() {
  return (
    <Alert color="yellow" p="xs" role="status">
      The connection is lost. The run goes on at the server; the rest appears here when it is back.
    </Alert>
  );
}

type TroubleProps = { live: Live /** Null where it cannot be asked again from here. */; onAgain: (() => void) | null };

export function Trouble({ live: { problem, receipt, runId }, onAgain }: TroubleProps): ReactNode {
  if (problem === null) return null;
  if (runId === null) return <Refused problem={problem} retry={onAgain ?? undefined} />;
  return (
    <Stack gap="xs" align="flex-start">
      <Ended
        title={problem.title}
        message={problem.message}
        isCharged={receipt === null ? null : receipt.creditsSpent > 0}
      />
      {onAgain !== null && (
        <Button size="compact-sm" variant="default" onClick={onAgain}>
          Take the question back to try again
        </Button>
      )}
    </Stack>
  );
}

function SignUp() {
  return (
    <Alert title="That was your free run of this month">
      <Stack gap="xs" align="flex-start">
        <Text size="sm">
          Sign in to go on: you begin with free credits, all models, and your sessions are kept. This answer stays in
          this tab only.
        </Text>
        <Button component={Link} href={signInPath()} size="compact-sm">
          Sign up for free credits
        </Button>
      </Stack>
    </Alert>
  );
}

const toEnd = () => window.scrollTo({ top: document.documentElement.scrollHeight });

/** Near enough to the end to be taken along with it, in pixels. */
const NEAR = 160;

/** Keeps the end in sight while text comes, unless the reader has gone up; tells screen readers the boundaries, and no more. */
function Follow({ run }: { run: LiveRun | null }) {
  const live = useLive(run);
  const isAtEnd = useRef(true);
  useEffect(() => {
    const onScroll = () => {
      const { scrollHeight, scrollTop, clientHeight } = document.documentElement;
      isAtEnd.current = scrollHeight - scrollTop - clientHeight < NEAR;
    };
    window.addEventListener('scroll', onScroll, { passive: true });
    return () => window.removeEventListener('scroll', onScroll);
  }, []);
  useEffect(() => {
    if (run === null) return;
    toEnd();
    // After each piece that is shown, which changes nothing here.
    return run.subscribe(() => requestAnimationFrame(() => isAtEnd.current && toEnd()));
  }, [run]);
  return (
    <span className="hidden" role="status">
      {live === null ? '' : spoken(live)}
    </span>
  );
}

export function spoken({ phase, receipt }: Live): string {
  if (phase !== 'ended') return phase === 'stopping' ? 'Stopping' : 'Generating';
  if (receipt === null) return 'Ended';
  const word = receipt.status === 'stopped' ? 'Stopped' : 'Done';
  return `${word}, ${whole(receipt.tokensUsed ?? 0)} tokens, ${credits(receipt.creditsSpent)}`;
}
