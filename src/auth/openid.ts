// Sign-in at the issuer of AUTH_ISSUER: authorization code flow with PKCE. Spec 2.2.
import {
  allowInsecureRequests,
  authorizationCodeGrant,
  buildAuthorizationUrl,
  type Configuration,
  calculatePKCECodeChallenge,
  discovery,
  fetchUserInfo,
  None,
  randomNonce,
  randomPKCECodeVerifier,
  randomState,
} from 'openid-client';
import { z } from 'zod';
import { signIn } from '../calls/accounts.ts';
import type { Sql } from '../database/client.ts';
import { Failure } from '../errors/failure.ts';
import { identityOf } from './identity.ts';

const TIMEOUT_SECONDS = 5;

/** What the browser keeps while a person is at the issuer. */
export const flowSchema = z.object({
  state: z.string(),
  nonce: z.string(),
  verifier: z.string(),
  returnTo: z.string(),
});
export type Flow = z.output<typeof flowSchema>;

export type OpenIdOptions = { issuer: string; clientId: string; clientSecret: string | undefined };
export type OpenId = ReturnType<typeof openIdClient>;

export function openIdClient(sql: Sql, { issuer, clientId, clientSecret }: OpenIdOptions) {
  let found: Promise<Configuration> | undefined;

  const configuration = () => {
    const options = {
      timeout: TIMEOUT_SECONDS,
      ...(issuer.startsWith('http:') && { execute: [allowInsecureRequests] }), // for stand-ins; the operator wrote http://
    };
    const authentication = clientSecret === undefined ? None() : undefined;
    found ??= discovery(new URL(issuer), clientId, clientSecret, authentication, options);
    found.catch(() => {
      found = undefined; // asked again next time
    });
    return found;
  };

  return {
    /** Where the person goes now, and what their browser is to keep meanwhile. */
    async begin(redirectUri: string, returnTo: string): Promise<{ url: URL; flow: Flow }> {
      const flow = { state: randomState(), nonce: randomNonce(), verifier: randomPKCECodeVerifier(), returnTo };
      const url = buildAuthorizationUrl(await configuration(), {
        redirect_uri: redirectUri,
        scope: 'openid profile email',
        code_challenge: await calculatePKCECodeChallenge(flow.verifier),
        code_challenge_method: 'S256',
        state: flow.state,
        nonce: flow.nonce,
      });
      return { url, flow };
    },

    /** Who came back to `url`, made at first sight. Throws what openid-client throws where the issuer or the person declined. */
    async finish(url: URL, { state, nonce, verifier }: Flow): Promise<{ userId: string; emailTaken: boolean }> {
      const known = await configuration();
      const tokens = await authorizationCodeGrant(known, url, {
        ...{ pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true },
      });
      const claims = tokens.claims();
      if (claims === undefined) throw new Failure('invalid_token');
      // Some issuers say only there who somebody is.
      const says =
        claims.email === undefined && known.serverMetadata().userinfo_endpoint !== undefined
          ? { ...(await fetchUserInfo(known, tokens.access_token, claims.sub)), ...claims }
          : claims;
      const signedIn = await signIn(sql, identityOf(claims.iss, claims.sub, says));
      if (signedIn.outcome !== 'ok') throw new Failure('account_closed');
      return { userId: signedIn.userId, emailTaken: signedIn.created && signedIn.emailTaken };
    },
  };
}
