import { listModels, type Model } from '../calls/catalog.ts';
import type { Sql } from '../database/client.ts';

/** An operator's change of models is seen no later than this. */
const TRUST_MS = 5_000;

/** The models as they were at most five seconds ago, for all users the same. */
export function createModels(sql: Sql): (userId: string) => Promise<Model[]> {
  let models: Promise<Model[]> | undefined;
  let until = 0;
  return (userId) => {
    if (models === undefined || Date.now() >= until) {
      until = Date.now() + TRUST_MS;
      models = listModels(sql, userId);
      models.catch(() => {
        models = undefined;
      });
    }
    return models;
  };
}
