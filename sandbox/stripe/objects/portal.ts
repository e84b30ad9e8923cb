import { newId } from '../ids.ts';
import type { PortalConfiguration, PortalSession } from '../wire.ts';
import type { World } from '../world.ts';

type Features = PortalConfiguration['features'];

/** What is off where nothing is said. */
function noFeatures(): Features {
  return {
    customer_update: { allowed_updates: [], enabled: false },
    invoice_history: { enabled: false },
    payment_method_update: { enabled: false, payment_method_configuration: null },
    subscription_cancel: {
      cancellation_reason: { enabled: false, feedback_options: null, options: [] },
      enabled: false,
      mode: 'at_period_end',
      proration_behavior: 'none',
    },
    subscription_pause: { duration: { interval_options: [], type: 'indefinite' }, enabled: false },
    subscription_update: {
      billing_cycle_anchor: null,
      default_allowed_updates: [],
      enabled: false,
      proration_behavior: 'none',
      schedule_at_period_end: { conditions: [] },
      trial_update_behavior: 'end_trial',
    },
  };
}

export type NewConfiguration = {
  features: { [F in keyof Features]?: Partial<Features[F]> };
  businessProfile: Partial<PortalConfiguration['business_profile']>;
  defaultReturnUrl: string | null;
  loginPage: boolean;
  metadata: Record<string, string>;
  name: string | null;
  isDefault: boolean;
};

export function buildConfiguration(world: World, wanted: NewConfiguration): PortalConfiguration {
  return {
    id: newId('bpc'),
    object: 'billing_portal.configuration',
    active: true,
    application: null,
    business_profile: {
      headline: null,
      privacy_policy_url: null,
      terms_of_service_url: null,
      ...wanted.businessProfile,
    },
    created: world.now,
    default_return_url: wanted.defaultReturnUrl,
    features: withFeatures(noFeatures(), wanted.features),
    is_default: wanted.isDefault,
    livemode: world.settings.livemode,
    login_page: {
      enabled: wanted.loginPage,
      url: wanted.loginPage ? `${world.settings.publicUrl}/portal/login` : null,
    },
    metadata: wanted.metadata,
    name: wanted.name,
    updated: world.now,
  };
}

export function withFeatures(features: Features, wanted: NewConfiguration['features']): Features {
  return {
    customer_update: { ...features.customer_update, ...wanted.customer_update },
    invoice_history: { ...features.invoice_history, ...wanted.invoice_history },
    payment_method_update: { ...features.payment_method_update, ...wanted.payment_method_update },
    subscription_cancel: { ...features.subscription_cancel, ...wanted.subscription_cancel },
    subscription_pause: { ...features.subscription_pause, ...wanted.subscription_pause },
    subscription_update: { ...features.subscription_update, ...wanted.subscription_update },
  };
}

export type NewPortalSession = { customer: string; configuration: string; returnUrl: string | null };

export function buildPortalSession(world: World, wanted: NewPortalSession): PortalSession {
  const id = newId('bps');
  return {
    id,
    object: 'billing_portal.session',
    configuration: wanted.configuration,
    created: world.now,
    customer: wanted.customer,
    customer_account: null,
    flow: null,
    livemode: world.settings.livemode,
    locale: null,
    on_behalf_of: null,
    return_url: wanted.returnUrl,
    url: `${world.settings.publicUrl}/portal/${id}`,
  };
}
