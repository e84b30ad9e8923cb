import type { Scope } from '../calls/accounts.ts';

/** Who acts, and what the credential allows. */
export type Principal = {
  userId: string;
  username: string;
  email: string | null;
  isAdmin: boolean;
  scopes: ReadonlySet<Scope>;
  /** Of the API token; null for a JWT. */
  tokenId: string | null;
  /** Seconds for which a sign-in on the page lasts; for no other. */
  lastsSeconds?: number;
};
