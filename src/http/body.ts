import type { IncomingMessage } from 'node:http';
import { Failure } from '../errors/failure.ts';

const MOST_BYTES = 256 * 1024;
/** A body above the limit is read up to here, so that the answer arrives. Spec 11.3. */
const MOST_READ_BYTES = 2 * 1024 * 1024;

/** The text of a request's body. Throws a Failure for one that is too long or no UTF-8; '' where there is none. */
export async function readBody(incoming: IncomingMessage): Promise<string> {
  const bytes = await readBytes(incoming, MOST_BYTES);
  try {
    return utf8.decode(bytes);
  } catch {
    throw new Failure('malformed_json', 'The body is not UTF-8.');
  }
}

/**
 * A request's body as it came, from Node's own request: the web's Request has none with GET. Throws a Failure for one of
 * more than `most` bytes.
 */
export async function readBytes(incoming: IncomingMessage, most: number): Promise<Buffer> {
  const { 'content-length': length, 'transfer-encoding': encoding } = incoming.headers;
  if (encoding === undefined && (length === undefined || length === '0')) return NONE;

  return new Promise((resolve, reject) => {
    let pieces: Buffer[] = [];
    let bytes = 0;
    const end = () => {
      incoming.removeListener('data', take).removeListener('end', end).removeListener('close', cut);
      if (bytes > most) reject(tooLong(most));
      else resolve(pieces.length === 1 && pieces[0] !== undefined ? pieces[0] : Buffer.concat(pieces));
    };
    const take = (piece: Buffer) => {
      bytes += piece.length;
      if (bytes <= most) pieces.push(piece);
      else pieces = [];
      if (bytes > MOST_READ_BYTES) end();
    };
    const cut = () => reject(new Failure('malformed_json', 'The body was cut off.'));
    // Not by its async iterator, which costs a run as much as its whole log line and more.
    incoming.on('data', take).on('end', end).on('close', cut);
  });
}

const NONE = Buffer.alloc(0);

function tooLong(most: number): Failure {
  return new Failure('request_too_long', `Body too large. Send at most ${most / 1024} kB.`);
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** The object that a body is, whatever its content type says; {} for none. */
export function parseObject(text: string): Record<string, unknown> {
  if (text.trim() === '') return {};
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Failure('malformed_json', 'The body is not JSON. Send a JSON object.');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Failure('validation_error', 'The body must be a JSON object.');
  }
  return { ...value };
}
