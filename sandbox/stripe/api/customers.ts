import { z } from 'zod';
import { end, isOver } from '../billing/ends.ts';
import { missing } from '../errors.ts';
import { buildCustomer } from '../objects/customer.ts';
import type { Customer } from '../wire.ts';
import { find, type World } from '../world.ts';
import { listOf } from './lists.ts';
import {
  changedMetadata,
  clearable,
  int,
  isWithin,
  newMetadata,
  page,
  range,
  text,
  withMetadata,
} from './parameters.ts';
import { route } from './route.ts';

type Address = NonNullable<Customer['address']>;

const address = z.strictObject({
  city: clearable(text).optional(),
  country: clearable(text).optional(),
  line1: clearable(text).optional(),
  line2: clearable(text).optional(),
  postal_code: clearable(text).optional(),
  state: clearable(text).optional(),
});
const NOWHERE = { city: null, country: null, line1: null, line2: null, postal_code: null, state: null };

function moved(present: Address | null | undefined, wanted: z.output<typeof address>): Address {
  const from: Address = present ?? NOWHERE;
  const pick = (key: keyof Address) => (wanted[key] === undefined ? from[key] : wanted[key]);
  return {
    city: pick('city'),
    country: pick('country'),
    line1: pick('line1'),
    line2: pick('line2'),
    postal_code: pick('postal_code'),
    state: pick('state'),
  };
}

const details = {
  email: clearable(text.max(512)).optional(),
  name: clearable(text.max(256)).optional(),
  description: clearable(text).optional(),
  phone: clearable(text.max(20)).optional(),
  address: clearable(address).optional(),
  balance: int.optional(),
  preferred_locales: z.array(text).optional(),
};

/** A customer that has not been deleted. */
export function findCustomer(world: World, id: string, param: string): Customer {
  if (world.state.deletedCustomers[id]) throw missing('customer', id, param);
  return find(world.state.customers, 'customer', id, param);
}

function deleteCustomer(world: World, id: string): void {
  const customer = findCustomer(world, id, 'id');
  for (const subscription of Object.values(world.state.subscriptions)) {
    if (subscription.customer === id && !isOver(subscription)) end(world, subscription, 'cancellation_requested');
  }
  world.state.deletedCustomers[id] = true;
  world.emit('customer.deleted', customer);
}

export const customerRoutes = [
  route('POST', '/v1/customers', { ...details, metadata: newMetadata.optional() }, (world, wanted) => {
    const { address: where, preferred_locales: locales, ...others } = wanted;
    const customer = buildCustomer(world, others);
    if (where) customer.address = moved(null, where);
    if (locales) customer.preferred_locales = locales;
    world.state.customers[customer.id] = customer;
    world.emit('customer.created', customer);
    return customer;
  }),
  route('GET', '/v1/customers/:id', {}, ({ state }, _wanted, id) => {
    if (state.deletedCustomers[id]) return { id, object: 'customer', deleted: true };
    return find(state.customers, 'customer', id);
  }),
  route('POST', '/v1/customers/:id', { ...details, metadata: changedMetadata.optional() }, (world, wanted, id) => {
    const customer = findCustomer(world, id, 'id');
    world.change('customer.updated', customer, () => {
      const { address: where, preferred_locales: locales, balance } = wanted;
      if (wanted.email !== undefined) customer.email = wanted.email;
      if (wanted.name !== undefined) customer.name = wanted.name;
      if (wanted.description !== undefined) customer.description = wanted.description;
      if (wanted.phone !== undefined) customer.phone = wanted.phone;
      if (where !== undefined) customer.address = where && moved(customer.address, where);
      if (locales !== undefined) customer.preferred_locales = locales;
      if (balance !== undefined) customer.balance = balance;
      customer.metadata = withMetadata(customer.metadata, wanted.metadata);
    });
    return customer;
  }),
  route('DELETE', '/v1/customers/:id', {}, (world, _wanted, id) => {
    deleteCustomer(world, id);
    return { id, object: 'customer', deleted: true };
  }),
  route(
    'GET',
    '/v1/customers',
    { ...page, email: text.max(512).optional(), created: range.optional() },
    ({ state }, { email, created, ...wanted }) => {
      const found = Object.values(state.customers).filter(
        (customer) =>
          !state.deletedCustomers[customer.id] &&
          (email === undefined || customer.email === email) &&
          isWithin(customer.created, created),
      );
      return listOf('/v1/customers', found, wanted);
    },
  ),
];
