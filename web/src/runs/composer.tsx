// What to run, what it will cost, and the button that does it.
import { Button, Group, Kbd, Text, Textarea } from '@mantine/core';
import { type KeyboardEvent, type ReactNode, type RefObject, useId } from 'react';
import { IconPlay, IconStop } from '../shell/icons.tsx';
import { useOnline } from '../shell/online.ts';
import type { Refusal } from '../shell/problem.ts';
import { Refused } from '../shell/states.tsx';
import styles from './composer.module.css';

const MOST_CHARACTERS = 10_000;

type ComposerProps = {
  input: string;
  onInput: (text: string) => void;
  field: RefObject<HTMLTextAreaElement | null>;
  state: 'idle' | 'running' | 'stopping';
  /** What keeps it from being run that is not the server's to say: no package yet. */
  missing: string | null;
  /** What the button says: the price. */
  label: string;
  price: ReactNode;
  /** What the server would answer to it as it stands. */
  refusal: Refusal | null;
  /** Ways on from that. */
  waysOn?: ReactNode;
  onRun: () => void;
  onStop: () => void;
};

export function Composer(props: ComposerProps) {
  const { input, onInput, field, state, missing, label, price, refusal, waysOn } = props;
  const length = [...input.trim()].length;
  const isTooLong = length > MOST_CHARACTERS;
  const isOnline = useOnline();
  const canRun = isOnline && length > 0 && !isTooLong && missing === null && state === 'idle' && refusal === null;
  const hint = useId();

  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    if (canRun) props.onRun();
  };

  return (
    <>
      {/* So that what the refusal lies on can be scrolled out from under it. */}
      {refusal !== null && <div className={styles.room} />}
      <form
        className={styles.composer}
        aria-label="Run"
        onSubmit={(event) => {
          event.preventDefault();
          if (canRun) props.onRun();
        }}
      >
        {refusal !== null && (
          <div className={styles.refusal}>
            <Refused refusal={refusal}>{waysOn}</Refused>
          </div>
        )}
        <Textarea
          ref={field}
          aria-label="Your input"
          aria-describedby={hint}
          placeholder={missing ?? 'What should it work on?'}
          autosize
          minRows={2}
          maxRows={10}
          value={input}
          error={
            isTooLong
              ? `At most ${MOST_CHARACTERS.toLocaleString()} characters: ${(length - MOST_CHARACTERS).toLocaleString()} too many.`
              : undefined
          }
          onChange={(event) => onInput(event.currentTarget.value)}
          onKeyDown={onKeyDown}
        />
        <Group justify="space-between" gap="xs" className={styles.below}>
          <div id={hint} className={styles.price}>
            {!isOnline ? (
              <Text size="sm">You are offline. What you write stays; it can be run when you are back.</Text>
            ) : missing !== null && length > 0 ? (
              <Text size="sm">{missing}</Text>
            ) : (
              price
            )}
            <Text size="xs" c="dimmed">
              {length.toLocaleString()} / {MOST_CHARACTERS.toLocaleString()} characters
            </Text>
          </div>
          {state === 'idle' ? (
            <Button type="submit" leftSection={<IconPlay size={14} />} disabled={!canRun}>
              {label}
            </Button>
          ) : (
            <Button
              color="red"
              variant="light"
              leftSection={<IconStop size={14} />}
              onClick={props.onStop}
              loading={state === 'stopping'}
            >
              Stop
              <Kbd ml="xs" size="xs" className={styles.key} aria-hidden="true">
                Esc
              </Kbd>
            </Button>
          )}
        </Group>
      </form>
    </>
  );
}
