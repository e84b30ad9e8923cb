import { listModels, type Model } from '../calls/catalog.ts';
import type { Sql } from '../database/client.ts';

/**
 * The models as they were at most `trustMs` ago, for all users the same. Who only wants to know how to count may trust them
 * long: the database looks at the count's tokenizer, and takes one that is no longer the model's for an estimate.
 */
export function createModels(sql: Sql, trustMs: number): (userId: string | null) => Promise<Model[]> {
  let models: Promise<Model[]> | undefined;
  let until = 0;
  return (userId) => {
    if (models === undefined || Date.now() >= until) {
      until = Date.now() + trustMs;
      models = listModels(sql, userId);
      models.catch(() => {
        models = undefined;
      });
    }
    return models;
  };
}
