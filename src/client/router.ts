/** The server's router. The package has its type written out in one file, without the server behind it (build.ts). */
export type { AppRouter } from '../trpc/_app.ts';
