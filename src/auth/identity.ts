import { uuidv7 } from 'uuidv7';
import type { Identity } from '../calls/accounts.ts';

/** What an issuer's claims say of a person. Claims are taken for what they may be, never for rights. Spec 2.2. */
export function identityOf(issuer: string, subject: string, claims: Record<string, unknown>): Identity {
  return {
    issuer,
    subject,
    email: text(claims.email),
    emailVerified: claims.email_verified === true,
    username: text(claims.preferred_username) ?? text(claims.nickname) ?? text(claims.name),
    newUserId: uuidv7(),
  };
}

function text(claim: unknown): string | null {
  return typeof claim === 'string' && claim !== '' && claim.length <= 255 ? claim : null;
}
