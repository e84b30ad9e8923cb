import { route } from './route.ts';

export const accountRoutes = [route('GET', '/v1/account', {}, ({ state }) => state.account)];
