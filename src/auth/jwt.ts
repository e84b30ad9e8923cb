import { createRemoteJWKSet, errors, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from 'jose';
import { z } from 'zod';
import { Failure } from '../errors/failure.ts';

export type IssuerOptions = { issuer: string; audience: string };
export type VerifyJwt = (token: string) => Promise<JWTPayload & { sub: string; exp: number }>;

/** Only asymmetric ones: who can read a published key must not be able to sign. */
const ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
];
const CLOCK_TOLERANCE_SECONDS = 5;
const DISCOVERY_TIMEOUT_MS = 5_000;

const discoverySchema = z.object({ issuer: z.string(), jwks_uri: z.url({ protocol: /^https?$/ }) });
const claimsSchema = z.object({ sub: z.string().min(1).max(255), exp: z.number() });

/** Checks signature, issuer, audience and expiry against the issuer's published keys. Spec 2.2. */
export function jwtVerifier({ issuer, audience }: IssuerOptions): VerifyJwt {
  let keys: Promise<JWTVerifyGetKey> | undefined;

  const publishedKeys = () => {
    keys ??= discover(issuer).then((uri) =>
      createRemoteJWKSet(new URL(uri), { timeoutDuration: DISCOVERY_TIMEOUT_MS }),
    );
    keys.catch(() => {
      keys = undefined; // asked again next time
    });
    return keys;
  };

  return async (token) => {
    if (token.split('.').length !== 3) throw new Failure('invalid_token');
    try {
      const { payload } = await jwtVerify(token, await publishedKeys(), {
        issuer,
        audience,
        algorithms: ALGORITHMS,
        clockTolerance: CLOCK_TOLERANCE_SECONDS,
        requiredClaims: ['sub', 'exp'],
      });
      return { ...payload, ...claimsSchema.parse(payload) };
    } catch (error) {
      throw tokenFailure(error);
    }
  };
}

async function discover(issuer: string): Promise<string> {
  const url = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;
  const response = await fetch(url, { signal: AbortSignal.timeout(DISCOVERY_TIMEOUT_MS) });
  if (!response.ok) throw new Error(`the issuer's configuration answered ${response.status}`);
  const configuration = discoverySchema.parse(await response.json());
  if (configuration.issuer.replace(/\/$/, '') !== issuer.replace(/\/$/, '')) {
    throw new Error('the configuration names another issuer than AUTH_ISSUER');
  }
  return configuration.jwks_uri;
}

const BAD_TOKEN = new Set([
  'ERR_JWT_CLAIM_VALIDATION_FAILED',
  'ERR_JWT_INVALID',
  'ERR_JWS_INVALID',
  'ERR_JWS_SIGNATURE_VERIFICATION_FAILED',
  'ERR_JOSE_ALG_NOT_ALLOWED',
  'ERR_JOSE_NOT_SUPPORTED',
  'ERR_JWKS_NO_MATCHING_KEY',
  'ERR_JWKS_MULTIPLE_MATCHING_KEYS',
]);

function tokenFailure(error: unknown): Failure {
  if (error instanceof errors.JWTExpired) return new Failure('token_expired', undefined, {}, { cause: error });
  const isBad = error instanceof z.ZodError || (error instanceof errors.JOSEError && BAD_TOKEN.has(error.code));
  return isBad
    ? new Failure('invalid_token', undefined, {}, { cause: error })
    : new Failure('issuer_unavailable', undefined, { retryAfter: 5 }, { cause: error });
}
