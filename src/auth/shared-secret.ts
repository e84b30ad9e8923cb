import { hash, timingSafeEqual } from 'node:crypto';

/** Whether an Authorization header brings this secret as its bearer token; takes as long whatever it brings. */
export function bringsSecret(authorization: string | undefined, secret: string): boolean {
  const [, brought] = /^Bearer +(\S+)$/i.exec(authorization ?? '') ?? [];
  return brought !== undefined && timingSafeEqual(hash('sha256', brought, 'buffer'), hash('sha256', secret, 'buffer'));
}
