import { bought, DAY, HOUR, type Shop, sellPack, sellPlan, subscribed } from '../shop.ts';

/** Each endpoint at least once, with objects in as many states as there are. */
export async function useEverything(shop: Shop, hookUrl: string): Promise<void> {
  const { stripe, client, customer, individual, member, pack } = shop;
  await client.accounts.retrieveCurrent();
  const product = await client.products.create({ name: 'X', default_price_data: { currency: 'usd', unit_amount: 1 } });
  await client.products.update(product.id, { description: '', metadata: { a: 'b' } });
  await client.products.retrieve(product.id, { expand: ['default_price'] });
  await client.products.list({ active: true, created: { gte: 1 } });
  const price = await client.prices.create({ currency: 'usd', unit_amount: 5, product: product.id, nickname: 'n' });
  await client.prices.update(price.id, { nickname: '', active: false });
  await client.prices.retrieve(price.id, { expand: ['product'] });
  await client.prices.list({ lookup_keys: ['individual'], type: 'recurring' });
  const gone = await client.customers.create({ email: 'x@example.com', address: { city: 'Y' }, metadata: { a: 'b' } });
  await client.customers.update(gone.id, { name: 'Z', phone: '', metadata: '' });
  await client.customers.retrieve(gone.id, { expand: ['subscriptions'] });
  await client.customers.del(gone.id);
  await client.customers.list({ email: 'ada@example.com', limit: 3 });

  const unpaid = await sellPlan(shop);
  stripe.decline(unpaid.id);
  await client.subscriptions.list({ status: 'incomplete' });
  await stripe.clock.advance(DAY);
  await client.checkout.sessions.retrieve(unpaid.id, { expand: ['line_items', 'customer'] });
  const open = await sellPack(shop, {
    allowed_payment_method_types: ['card', 'link'],
    adaptive_pricing: { enabled: false },
  });
  await client.checkout.sessions.update(open.id, { metadata: { a: 'b' } });
  await client.checkout.sessions.listLineItems(open.id);
  await client.checkout.sessions.expire(open.id);
  stripe.pay((await sellPack(shop, { invoice_creation: { enabled: true } })).id);
  const delayed = await sellPack(shop);
  stripe.payDelayed(delayed.id);
  await client.paymentIntents.list({ customer: customer.id });
  stripe.endDelayed(delayed.id, 'failed');
  stripe.decline((await sellPack(shop)).id);

  const { id, items } = await subscribed(shop);
  const item = items.data[0]?.id ?? '';
  await client.subscriptions.update(id, { items: [{ id: item, price: member.id }], proration_behavior: 'none' });
  await client.subscriptions.update(id, { cancel_at_period_end: true });
  await client.subscriptions.update(id, { cancel_at_period_end: false, pause_collection: { behavior: 'void' } });
  await client.subscriptions.update(id, { pause_collection: '' });
  stripe.portalCancel(id);
  await client.subscriptions.update(id, { cancel_at: '', description: 'd', metadata: { a: '' } });
  stripe.giveCoupon(id);
  await client.subscriptions.retrieve(id, {
    expand: ['discounts.source.coupon', 'latest_invoice.payments', 'customer'],
  });
  await stripe.clock.advance(32 * DAY);
  await client.subscriptions.pause(id);
  await client.subscriptions.retrieve(id);
  await client.subscriptions.resume(id, { billing_cycle_anchor: { type: 'unchanged' } });
  stripe.setCard(customer.id, 'requires_action');
  await stripe.clock.advance(31 * DAY + HOUR);
  stripe.setCard(customer.id, 'declined');
  await stripe.clock.advance(3 * DAY);
  const [failed] = (await client.invoices.list({ subscription: id, status: 'open', expand: ['data.payments'] })).data;
  stripe.setCard(customer.id, 'good');
  await client.invoices.pay(failed?.id ?? '');
  await client.invoices.retrieve(failed?.id ?? '', { expand: ['payments.data.payment.payment_intent'] });
  await client.invoices.listLineItems(failed?.id ?? '');
  await client.subscriptions.cancel(id, {
    prorate: true,
    invoice_now: true,
    cancellation_details: { feedback: 'unused' },
  });
  const trial = await subscribed(shop, { subscription_data: { trial_period_days: 3, description: 't' } });
  await stripe.clock.advance(3 * DAY);
  const [drafted] = (await client.invoices.list({ subscription: trial.id, status: 'draft' })).data;
  await client.invoices.finalizeInvoice(drafted?.id ?? '');
  await client.invoices.voidInvoice(drafted?.id ?? '');
  const { data: links } = await client.invoicePayments.list({ invoice: failed?.id ?? '', expand: ['data.invoice'] });
  await client.invoicePayments.retrieve(links[0]?.id ?? '', { expand: ['payment.payment_intent'] });
  stripe.pay((await sellPlan(shop, { line_items: [{ price: individual.id, quantity: 2 }] })).id);

  const payment = await bought(shop);
  await client.paymentIntents.retrieve(payment.id, { expand: ['latest_charge', 'customer'] });
  const refund = await client.refunds.create({
    payment_intent: payment.id,
    amount: 100,
    reason: 'requested_by_customer',
  });
  await client.refunds.update(refund.id, { metadata: { a: 'b' } });
  const pending = stripe.refund(payment.id, 100, 'pending');
  await client.refunds.retrieve(pending.id, { expand: ['charge'] });
  stripe.cancelRefund(pending.id);
  stripe.failRefund(refund.id);
  await client.refunds.list({ payment_intent: payment.id });
  await client.charges.retrieve(String(payment.latest_charge), { expand: ['refunds'] });
  await client.charges.list({ customer: customer.id, limit: 100 });
  const dispute = stripe.openDispute(payment.id);
  await client.disputes.retrieve(dispute.id, { expand: ['charge', 'payment_intent'] });
  stripe.closeDispute(dispute.id, 'lost');
  stripe.appealDispute(dispute.id);
  stripe.openDispute((await bought(shop)).id, { status: 'warning_needs_response' });
  await client.disputes.list({ created: { gt: 1 } });

  const features = {
    customer_update: { enabled: true, allowed_updates: ['email' as const] },
    invoice_history: { enabled: true },
    payment_method_update: { enabled: true },
    subscription_cancel: { enabled: true, mode: 'at_period_end' as const },
    subscription_update: { enabled: false },
  };
  const configuration = await client.billingPortal.configurations.create({ features, name: 'n' });
  await client.billingPortal.configurations.update(configuration.id, { business_profile: { headline: 'h' } });
  await client.billingPortal.configurations.retrieve(configuration.id);
  await client.billingPortal.configurations.list({ active: true });
  await client.billingPortal.sessions.create({
    customer: customer.id,
    configuration: configuration.id,
    return_url: 'https://shop.example',
  });
  const wanted = { url: hookUrl, enabled_events: ['charge.refunded' as const], metadata: { a: 'b' } };
  const endpoint = await client.webhookEndpoints.create(wanted);
  await client.webhookEndpoints.update(endpoint.id, { disabled: true });
  await client.webhookEndpoints.retrieve(endpoint.id);
  await client.webhookEndpoints.list();
  await client.webhookEndpoints.del(endpoint.id);
  const { data: events } = await client.events.list({
    types: ['invoice.paid', 'charge.refunded'],
    delivery_success: false,
  });
  await client.events.retrieve(events[0]?.id ?? '');
  await client.checkout.sessions.list({ customer: customer.id, expand: ['data.line_items'] });
  await client.prices.retrieve(pack.id);
}
