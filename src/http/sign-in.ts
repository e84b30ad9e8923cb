// The way to the issuer and back. Spec 2.2.
import type { IncomingMessage } from 'node:http';
import { parse, serialize } from 'hono/utils/cookie';
import { type Flow, flowSchema, type OpenId } from '../auth/openid.ts';
import { Failure } from '../errors/failure.ts';
import type { PageServices } from '../trpc/trpc.ts';

export const SIGN_IN = '/auth/sign-in';
export const CALLBACK = '/auth/callback';
/** How long a person may take at the issuer. */
const FLOW_SECONDS = 600;

/** Sends a person to the issuer; without one, to the page that says how to sign in here. */
export async function answerSignIn(page: PageServices, query: URLSearchParams): Promise<Response> {
  const returnTo = pathOf(page.origin(), query.get('return'));
  if (page.openId === undefined) return toSignInPage({ return: returnTo });
  try {
    const { url, flow } = await page.openId.begin(`${page.origin()}${CALLBACK}`, returnTo);
    return redirect(url.href, [flowCookie(page, flow.state, JSON.stringify(flow), FLOW_SECONDS)]);
  } catch {
    return toSignInPage({ problem: 'unavailable', return: returnTo });
  }
}

/** Signs a person in who comes back from the issuer. `note` is told what went wrong, never the person's secrets. */
export async function answerCallback(
  page: PageServices,
  openId: OpenId,
  { incoming, query, note }: { incoming: IncomingMessage; query: URLSearchParams; note: (error: unknown) => void },
): Promise<Response> {
  const state = query.get('state') ?? '';
  const flow = readFlow(incoming, state);
  const forget = flowCookie(page, state, '', 0);
  if (flow === undefined) return toSignInPage({ problem: 'expired' });
  const returnTo = pathOf(page.origin(), flow.returnTo);
  try {
    const { userId, emailTaken } = await openId.finish(new URL(`${CALLBACK}?${query}`, page.origin()), flow);
    const target = new URL(returnTo, page.origin());
    if (emailTaken) target.searchParams.set('notice', 'email-taken');
    return redirect(`${target.pathname}${target.search}`, [await page.logins.begin(userId), forget]);
  } catch (error) {
    note(error);
    const problem = error instanceof Failure && error.code === 'account_closed' ? 'closed' : 'refused';
    return toSignInPage({ problem, return: returnTo }, [forget]);
  }
}

/** Each attempt has a cookie of its own, so that two tabs can sign in at once. */
function flowCookie({ origin }: PageServices, state: string, value: string, maxAge: number): string {
  return serialize(flowName(state), encodeURIComponent(value), {
    ...{ httpOnly: true, sameSite: 'Lax', path: '/auth', maxAge },
    secure: origin().startsWith('https:'),
  });
}

const flowName = (state: string) => `prpm_sign_in_${state.replace(/[^\w-]/g, '').slice(0, 16)}`;

function readFlow({ headers }: IncomingMessage, state: string): Flow | undefined {
  const name = flowName(state);
  const value = headers.cookie === undefined ? undefined : parse(headers.cookie, name)[name];
  if (value === undefined) return undefined;
  try {
    return flowSchema.parse(JSON.parse(decodeURIComponent(value)));
  } catch {
    return undefined;
  }
}

/** A path of ours to come back to, whatever was asked for. */
function pathOf(origin: string, asked: string | null): string {
  if (asked === null || !asked.startsWith('/') || !URL.canParse(asked, origin)) return '/playground';
  const url = new URL(asked, origin);
  return url.origin === new URL(origin).origin ? `${url.pathname}${url.search}` : '/playground';
}

const toSignInPage = (query: Record<string, string>, cookies: string[] = []) =>
  redirect(`/sign-in?${new URLSearchParams(query)}`, cookies);

function redirect(location: string, cookies: string[]): Response {
  const headers = new Headers({ location, 'cache-control': 'no-store', 'referrer-policy': 'no-referrer' });
  for (const cookie of cookies) headers.append('set-cookie', cookie);
  return new Response(null, { status: 302, headers });
}
