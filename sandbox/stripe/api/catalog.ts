import { z } from 'zod';
import { refused } from '../errors.ts';
import { buildPrice, buildProduct } from '../objects/catalog.ts';
import type { Price, Product } from '../wire.ts';
import { find, type World } from '../world.ts';
import { listOf } from './lists.ts';
import {
  bool,
  changedMetadata,
  clearable,
  currency,
  int,
  isWithin,
  newMetadata,
  page,
  range,
  text,
  url,
  withMetadata,
} from './parameters.ts';
import { route } from './route.ts';

export const recurring = z.strictObject({
  interval: z.enum(['day', 'week', 'month', 'year']),
  interval_count: int.pipe(z.number().min(1)).optional(),
});
export const productData = z.strictObject({
  name: text,
  description: text.optional(),
  metadata: newMetadata.optional(),
  images: z.array(url).max(8).optional(),
  tax_code: text.optional(),
  unit_label: text.optional(),
});

export function createProduct(world: World, wanted: Parameters<typeof buildProduct>[1]): Product {
  if (wanted.id !== undefined && world.state.products[wanted.id]) {
    throw refused(`Product already exists with id: ${wanted.id}`, 'id', 'resource_already_exists');
  }
  const product = buildProduct(world, wanted);
  world.state.products[product.id] = product;
  world.emit('product.created', product);
  return product;
}

export function createPrice(world: World, wanted: Parameters<typeof buildPrice>[1]): Price {
  find(world.state.products, 'product', wanted.product, 'product');
  const price = buildPrice(world, wanted);
  world.state.prices[price.id] = price;
  world.emit('price.created', price);
  return price;
}

export const catalogRoutes = [
  route(
    'POST',
    '/v1/products',
    {
      id: text.optional(),
      name: text,
      description: text.optional(),
      active: bool.optional(),
      metadata: newMetadata.optional(),
      type: z.enum(['service', 'good']).optional(),
      default_price_data: z
        .strictObject({ currency, unit_amount: int.pipe(z.number().min(0)), recurring: recurring.optional() })
        .optional(),
    },
    (world, { default_price_data: price, ...wanted }) => {
      const product = createProduct(world, wanted);
      if (price) {
        const { unit_amount: unitAmount, ...others } = price;
        product.default_price = createPrice(world, { ...others, unitAmount, product: product.id }).id;
      }
      return product;
    },
  ),
  route('GET', '/v1/products/:id', {}, ({ state }, _wanted, id) => find(state.products, 'product', id)),
  route(
    'POST',
    '/v1/products/:id',
    {
      name: text.optional(),
      description: clearable(text).optional(),
      active: bool.optional(),
      metadata: changedMetadata.optional(),
      default_price: text.optional(),
    },
    (world, wanted, id) => {
      const product = find(world.state.products, 'product', id);
      world.change('product.updated', product, () => {
        product.name = wanted.name ?? product.name;
        product.active = wanted.active ?? product.active;
        if (wanted.description !== undefined) product.description = wanted.description;
        if (wanted.default_price !== undefined) {
          product.default_price = find(world.state.prices, 'price', wanted.default_price, 'default_price').id;
        }
        product.metadata = withMetadata(product.metadata, wanted.metadata);
        product.updated = world.now;
      });
      return product;
    },
  ),
  route(
    'GET',
    '/v1/products',
    { ...page, active: bool.optional(), created: range.optional(), ids: z.array(text).optional() },
    ({ state }, { active, created, ids, ...wanted }) => {
      const found = Object.values(state.products).filter(
        (product) =>
          (active === undefined || product.active === active) &&
          (ids === undefined || ids.includes(product.id)) &&
          isWithin(product.created, created),
      );
      return listOf('/v1/products', found, wanted);
    },
  ),

  route(
    'POST',
    '/v1/prices',
    {
      currency,
      unit_amount: int.pipe(z.number().min(0)),
      product: text.optional(),
      product_data: productData.omit({ description: true, images: true }).optional(),
      recurring: recurring.extend({ usage_type: z.literal('licensed').optional() }).optional(),
      active: bool.optional(),
      lookup_key: text.max(200).optional(),
      transfer_lookup_key: bool.optional(),
      nickname: text.optional(),
      metadata: newMetadata.optional(),
      tax_behavior: z.enum(['inclusive', 'exclusive', 'unspecified']).optional(),
    },
    (world, wanted) => {
      const { product: productId, product_data: data, lookup_key: lookupKey } = wanted;
      if ((productId === undefined) === (data === undefined)) {
        throw refused('You must specify either `product` or `product_data` when creating a price.', 'product');
      }
      freeLookupKey(world, lookupKey, wanted.transfer_lookup_key ?? false);
      const product = data ? createProduct(world, data).id : (productId ?? '');
      return createPrice(world, { ...wanted, product, unitAmount: wanted.unit_amount, lookupKey });
    },
  ),
  route('GET', '/v1/prices/:id', {}, ({ state }, _wanted, id) => find(state.prices, 'price', id)),
  route(
    'POST',
    '/v1/prices/:id',
    {
      active: bool.optional(),
      lookup_key: clearable(text.max(200)).optional(),
      transfer_lookup_key: bool.optional(),
      nickname: clearable(text).optional(),
      metadata: changedMetadata.optional(),
    },
    (world, wanted, id) => {
      const price = find(world.state.prices, 'price', id);
      if (wanted.lookup_key) freeLookupKey(world, wanted.lookup_key, wanted.transfer_lookup_key ?? false);
      world.change('price.updated', price, () => {
        price.active = wanted.active ?? price.active;
        if (wanted.lookup_key !== undefined) price.lookup_key = wanted.lookup_key;
        if (wanted.nickname !== undefined) price.nickname = wanted.nickname;
        price.metadata = withMetadata(price.metadata, wanted.metadata);
      });
      return price;
    },
  ),
  route(
    'GET',
    '/v1/prices',
    {
      ...page,
      active: bool.optional(),
      created: range.optional(),
      currency: currency.optional(),
      lookup_keys: z.array(text).max(10).optional(),
      product: text.optional(),
      type: z.enum(['one_time', 'recurring']).optional(),
    },
    ({ state }, { lookup_keys: keys, ...wanted }) => {
      const found = Object.values(state.prices).filter(
        (price) =>
          (wanted.active === undefined || price.active === wanted.active) &&
          (keys === undefined || (price.lookup_key !== null && keys.includes(price.lookup_key))) &&
          (wanted.product === undefined || price.product === wanted.product) &&
          (wanted.currency === undefined || price.currency === wanted.currency.toLowerCase()) &&
          (wanted.type === undefined || price.type === wanted.type) &&
          isWithin(price.created, wanted.created),
      );
      return listOf('/v1/prices', found, wanted);
    },
  ),
];

/** A lookup key belongs to one price: another gets it only by an explicit transfer. */
function freeLookupKey({ state }: World, key: string | undefined, transfer: boolean): void {
  const holder = Object.values(state.prices).find((price) => key !== undefined && price.lookup_key === key);
  if (!holder) return;
  if (!transfer) throw refused(`A price (\`${holder.id}\`) already uses that lookup key.`, 'lookup_key');
  holder.lookup_key = null;
}
