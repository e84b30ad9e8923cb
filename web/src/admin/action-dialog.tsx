import { Button, Group, Stack, Textarea } from '@mantine/core';
import { type FormEvent, type ReactNode, useState } from 'react';
import { Dialog } from '../shell/dialog.tsx';
import { Refused } from '../shell/states.tsx';

type ActionDialogProps = {
  title: string;
  /** On the button that does it. */
  verb: string;
  onClose: () => void;
  onDo: (reason: string) => void;
  isPending: boolean;
  error: unknown;
  isReady?: boolean;
  color?: string;
  size?: string;
  children?: ReactNode;
};

/** Asks why before something is done; the reason is kept with it in audit_log. */
export function ActionDialog(props: ActionDialogProps) {
  const { title, verb, onClose, onDo, isPending, error, isReady = true, color, size = 'md', children } = props;
  const [reason, setReason] = useState('');
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (isReady && reason.trim() !== '') onDo(reason.trim());
  };
  return (
    <Dialog onClose={onClose} title={title} size={size}>
      <form onSubmit={submit}>
        <Stack gap="sm">
          {children}
          <Textarea
            label="Reason"
            description="Kept in the log of changes."
            value={reason}
            onChange={(event) => setReason(event.currentTarget.value)}
            maxLength={500}
            autosize
            minRows={2}
            required
          />
          {error !== null && error !== undefined && <Refused error={error} />}
          <Group justify="flex-end" gap="xs">
            <Button variant="default" onClick={onClose}>
              Cancel
            </Button>
            <Button
              type="submit"
              loading={isPending}
              disabled={!isReady || reason.trim() === ''}
              {...(color !== undefined && { color })}
            >
              {verb}
            </Button>
          </Group>
        </Stack>
      </form>
    </Dialog>
  );
}
