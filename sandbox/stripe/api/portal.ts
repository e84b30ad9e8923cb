import { z } from 'zod';
import { refused } from '../errors.ts';
import { buildConfiguration, buildPortalSession, withFeatures } from '../objects/portal.ts';
import type { PortalConfiguration } from '../wire.ts';
import { find, type World } from '../world.ts';
import { findCustomer } from './customers.ts';
import { listOf } from './lists.ts';
import { bool, changedMetadata, clearable, newMetadata, page, text, url, withMetadata } from './parameters.ts';
import { route } from './route.ts';

const options = z.array(
  z.enum([
    'customer_service',
    'low_quality',
    'missing_features',
    'other',
    'switched_service',
    'too_complex',
    'too_expensive',
    'unused',
  ]),
);
const features = z.strictObject({
  customer_update: z
    .strictObject({
      allowed_updates: clearable(
        z.array(z.enum(['address', 'email', 'name', 'phone', 'shipping', 'tax_id'])),
      ).optional(),
      enabled: bool.optional(),
    })
    .optional(),
  invoice_history: z.strictObject({ enabled: bool }).optional(),
  payment_method_update: z.strictObject({ enabled: bool }).optional(),
  subscription_cancel: z
    .strictObject({
      enabled: bool.optional(),
      mode: z.enum(['at_period_end', 'immediately']).optional(),
      proration_behavior: z.enum(['always_invoice', 'create_prorations', 'none']).optional(),
      cancellation_reason: z.strictObject({ enabled: bool, options: clearable(options).optional() }).optional(),
    })
    .optional(),
  subscription_pause: z.strictObject({ enabled: bool.optional() }).optional(),
  subscription_update: z
    .strictObject({
      enabled: bool.optional(),
      default_allowed_updates: clearable(z.array(z.enum(['price', 'promotion_code', 'quantity']))).optional(),
      proration_behavior: z.enum(['always_invoice', 'create_prorations', 'none']).optional(),
    })
    .optional(),
});
type Features = z.output<typeof features>;

const configuration = {
  features: features.optional(),
  business_profile: z
    .strictObject({
      headline: clearable(text.max(60)).optional(),
      privacy_policy_url: url.optional(),
      terms_of_service_url: url.optional(),
    })
    .optional(),
  default_return_url: clearable(url).optional(),
  login_page: z.strictObject({ enabled: bool }).optional(),
  name: clearable(text).optional(),
};

export const portalRoutes = [
  route(
    'POST',
    '/v1/billing_portal/configurations',
    { ...configuration, features, metadata: newMetadata.optional() },
    (world, wanted) => {
      checkFeatures(wanted.features);
      const made = buildConfiguration(world, {
        features: featuresOf(wanted.features),
        businessProfile: given(wanted.business_profile ?? {}),
        defaultReturnUrl: wanted.default_return_url ?? null,
        loginPage: wanted.login_page?.enabled ?? false,
        metadata: wanted.metadata ?? {},
        name: wanted.name ?? null,
        isDefault: false,
      });
      world.state.portalConfigurations[made.id] = made;
      world.emit('billing_portal.configuration.created', made);
      return made;
    },
  ),
  route('GET', '/v1/billing_portal/configurations/:id', {}, ({ state }, _wanted, id) =>
    find(state.portalConfigurations, 'configuration', id, 'configuration'),
  ),
  route(
    'POST',
    '/v1/billing_portal/configurations/:id',
    { ...configuration, active: bool.optional(), metadata: changedMetadata.optional() },
    (world, wanted, id) => {
      const found = find(world.state.portalConfigurations, 'configuration', id, 'configuration');
      if (wanted.features) checkFeatures(wanted.features);
      world.change('billing_portal.configuration.updated', found, () => {
        found.active = wanted.active ?? found.active;
        if (wanted.features) found.features = withFeatures(found.features, featuresOf(wanted.features));
        found.business_profile = { ...found.business_profile, ...given(wanted.business_profile ?? {}) };
        if (wanted.default_return_url !== undefined) found.default_return_url = wanted.default_return_url;
        if (wanted.login_page) found.login_page.enabled = wanted.login_page.enabled;
        if (wanted.name !== undefined) found.name = wanted.name;
        found.metadata = withMetadata(found.metadata ?? {}, wanted.metadata);
        found.updated = world.now;
      });
      return found;
    },
  ),
  route(
    'GET',
    '/v1/billing_portal/configurations',
    { ...page, active: bool.optional(), is_default: bool.optional() },
    ({ state }, { active, is_default: isDefault, ...wanted }) => {
      const found = Object.values(state.portalConfigurations).filter(
        (made) =>
          (active === undefined || made.active === active) &&
          (isDefault === undefined || made.is_default === isDefault),
      );
      return listOf('/v1/billing_portal/configurations', found, wanted);
    },
  ),
  route(
    'POST',
    '/v1/billing_portal/sessions',
    { customer: text, configuration: text.optional(), return_url: url.optional(), locale: text.optional() },
    (world, wanted) => {
      findCustomer(world, wanted.customer, 'customer');
      const chosen = configurationFor(world, wanted.configuration);
      const made = buildPortalSession(world, {
        customer: wanted.customer,
        configuration: chosen.id,
        returnUrl: wanted.return_url ?? chosen.default_return_url,
      });
      world.state.portalSessions[made.id] = made;
      world.emit('billing_portal.session.created', made);
      return made;
    },
  ),
];

function configurationFor(world: World, id: string | undefined): PortalConfiguration {
  const { portalConfigurations: all } = world.state;
  if (id !== undefined) {
    const found = find(all, 'configuration', id, 'configuration');
    if (!found.active) throw refused('This configuration is not active.', 'configuration');
    return found;
  }
  const usual = Object.values(all).find((made) => made.is_default);
  if (usual) return usual;
  const mode = world.settings.livemode ? 'live' : 'test';
  throw refused(
    `No configuration provided and your ${mode} mode default configuration has not been created. Provide a configuration or create your default by saving your customer portal settings.`,
  );
}

function checkFeatures(wanted: Features): void {
  const { mode = 'at_period_end', proration_behavior: proration = 'none' } = wanted.subscription_cancel ?? {};
  if (mode === 'at_period_end' && proration !== 'none') {
    const param = 'features[subscription_cancel][proration_behavior]';
    throw refused('`proration_behavior` must be `none` where `mode` is `at_period_end`.', param);
  }
}

function featuresOf(wanted: Features): Parameters<typeof withFeatures>[1] {
  const { customer_update: customer, subscription_cancel: cancel, subscription_update: update } = wanted;
  const { cancellation_reason: reason, ...canceling } = cancel ?? {};
  return given({
    invoice_history: wanted.invoice_history,
    payment_method_update: wanted.payment_method_update,
    subscription_pause: wanted.subscription_pause && given(wanted.subscription_pause),
    customer_update: customer && given({ ...customer, allowed_updates: customer.allowed_updates ?? undefined }),
    subscription_cancel:
      cancel &&
      given({
        ...canceling,
        cancellation_reason: reason && {
          enabled: reason.enabled,
          feedback_options: null,
          options: reason.options ?? [],
        },
      }),
    subscription_update:
      update && given({ ...update, default_allowed_updates: update.default_allowed_updates ?? undefined }),
  });
}

/** Without what was not given. */
function given<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const kept = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(kept) as { [K in keyof T]?: Exclude<T[K], undefined> }; // entries lose their names' types
}
