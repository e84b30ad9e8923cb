// A server with an administrator, for tests of what an operator sees over HTTP.
import { type Answer, type CallOptions, call, openHouse } from '../http/house.ts';
import { publishPackage, signUp } from '../sessions/people.ts';

export const base = '/api/v1/admin/cost-analytics';

/** The product's clock stands at noon on the tenth of next month; package `notes` can be run. */
export async function openAdministration() {
  const house = await openHouse();
  const { database, url } = house;
  const packageId = await publishPackage(database);
  await database.ops`update cost_limits_config set minute_request_limit = null, hourly_request_limit = null`;
  const adminId = await signUp(database, 'root');
  await database.ops`select from ops.set_user('root', is_admin => true, reason => 'test')`;

  async function tokenOf(user: string, ...scopes: string[]): Promise<string> {
    const [row] = await database.ops<{ token: string }[]>`
      select token from ops.create_token(${user}, 'test', ${scopes})`;
    return row?.token ?? '';
  }
  const token = await tokenOf('root', 'read', 'admin');

  const ask = (method: string, path: string, options: CallOptions = {}): Promise<Answer> =>
    call(url, method, `${base}${path}`, { token, ...options });
  const get = async (path: string): Promise<Answer['json']> => {
    const { status, json, text } = await ask('GET', path);
    if (status !== 200) throw new Error(`${path} answered ${status}: ${text}`);
    return json;
  };
  return { house, database, url, packageId, adminId, token, tokenOf, ask, get, audit: house.audit, close: house.close };
}
