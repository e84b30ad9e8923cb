import { notifications } from '@mantine/notifications';
import { problemOf } from '../shell/problem.ts';
import { saveFile } from '../shell/save-file.ts';
import { client, type Outputs } from '../trpc.ts';

/** A session as a file, gathered piece by piece. */
export async function exportSession(sessionId: string, format: 'markdown' | 'json'): Promise<void> {
  try {
    const pieces: string[] = [];
    for (let cursor: string | null = null; ; ) {
      const piece: Outputs['sessions']['export'] = await client.sessions.export.query({ sessionId, format, cursor });
      pieces.push(piece.content);
      cursor = piece.nextCursor;
      if (cursor !== null) continue;
      saveFile(piece.filename, piece.contentType, pieces);
      return;
    }
  } catch (error) {
    notifications.show({ color: 'red', title: 'The session was not exported', message: problemOf(error).message });
  }
}
