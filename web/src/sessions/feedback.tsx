import { ActionIcon, Button, Group, Popover, Text, Textarea } from '@mantine/core';
import { useMutation } from '@tanstack/react-query';
import { useState } from 'react';
import { IconDown, IconUp } from '../shell/icons.tsx';
import { problemOf } from '../shell/problem.ts';
import { queryClient, trpc } from '../trpc.ts';

type FeedbackProps = { sessionId: string; exchangeIndex: number; isEffective: boolean | null };

/** Whether an answer was of use, with a word about it if one likes. It is given once. Spec 10.3. */
export function Feedback({ sessionId, exchangeIndex, isEffective }: FeedbackProps) {
  const [comment, setComment] = useState('');
  const [asked, setAsked] = useState<boolean | null>(null);
  const give = useMutation(
    trpc.sessions.feedback.mutationOptions({
      onSuccess: () => {
        setAsked(null);
        return queryClient.invalidateQueries(trpc.sessions.read.queryFilter({ sessionId }));
      },
    }),
  );
  const said = isEffective ?? (give.isSuccess ? give.variables.isEffective : null);
  if (said !== null)
    return (
      <Group gap={4} c="dimmed">
        {said ? <IconUp size={16} /> : <IconDown size={16} />}
        <Text size="xs">{said ? 'You found it of use' : 'You found it of no use'}</Text>
      </Group>
    );
  const toggle = (good: boolean) => setAsked((now) => (now === good ? null : good));
  return (
    <Popover
      opened={asked !== null}
      onChange={(isOpen) => !isOpen && setAsked(null)}
      position="top"
      withArrow
      width={280}
      trapFocus
    >
      <Popover.Target>
        <Group gap={2} role="group" aria-label="Was this answer of use?">
          <ActionIcon
            variant={asked === true ? 'light' : 'subtle'}
            color={asked === true ? 'green' : 'gray'}
            aria-label="Of use"
            aria-pressed={asked === true}
            onClick={() => toggle(true)}
          >
            <IconUp />
          </ActionIcon>
          <ActionIcon
            variant={asked === false ? 'light' : 'subtle'}
            color={asked === false ? 'red' : 'gray'}
            aria-label="Of no use"
            aria-pressed={asked === false}
            onClick={() => toggle(false)}
          >
            <IconDown />
          </ActionIcon>
        </Group>
      </Popover.Target>
      <Popover.Dropdown>
        <form
          onSubmit={(event) => {
            event.preventDefault();
            const words = comment.trim();
            give.mutate({
              ...{ sessionId, exchangeIndex, isEffective: asked ?? true },
              ...(words !== '' && { comment: words }),
            });
          }}
        >
          <Textarea
            label={asked === false ? 'What was wrong with it?' : 'What was good about it?'}
            description="If you like. You say it once."
            maxLength={1_000}
            autosize
            minRows={2}
            value={comment}
            onChange={(event) => setComment(event.currentTarget.value)}
            mb="xs"
          />
          {give.isError && (
            <Text size="sm" role="alert" mb="xs">
              {problemOf(give.error).message}
            </Text>
          )}
          <Group justify="flex-end" gap="xs">
            <Button size="compact-sm" variant="default" onClick={() => setAsked(null)}>
              Cancel
            </Button>
            <Button size="compact-sm" type="submit" loading={give.isPending}>
              Send
            </Button>
          </Group>
        </form>
      </Popover.Dropdown>
    </Popover>
  );
}
