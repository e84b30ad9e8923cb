import { end, isOver, scheduleByDate, unschedule } from '../billing/ends.ts';
import { currentPeriod, rate } from '../billing/subscribe.ts';
import { refused } from '../errors.ts';
import type { Invoice, PortalConfiguration, Subscription } from '../wire.ts';
import { find, type World } from '../world.ts';
import { day, type Html, html, money } from './html.ts';
import type { PageOf } from './pages.ts';

/** GET /portal/<session>: a customer's subscriptions and invoices, with what the session's configuration allows. */
export const portalPage: PageOf = {
  show(world, id) {
    const session = find(world.state.portalSessions, 'billing_portal.session', id);
    const { features } = find(world.state.portalConfigurations, 'configuration', session.configuration);
    const own = subscriptionsOf(world, session.customer);
    const invoices = Object.values(world.state.invoices).filter(({ customer }) => customer === session.customer);
    return {
      title: 'Your subscription',
      body: html`
${own.length === 0 ? html`<p>You have no subscription.</p>` : own.map((made) => subscriptionPart(world, made, features))}
${features.payment_method_update.enabled ? cardPart(world, session.customer) : null}
${features.invoice_history.enabled ? invoicesPart(invoices.toReversed()) : null}
${session.return_url === null ? null : html`<p><a href="${session.return_url}">Go back</a></p>`}`,
    };
  },

  press(world, id, action) {
    const session = find(world.state.portalSessions, 'billing_portal.session', id);
    const { features } = find(world.state.portalConfigurations, 'configuration', session.configuration);
    const [what = '', subject = ''] = action.split(' ');
    if (what === 'card' && features.payment_method_update.enabled) {
      world.wallet(session.customer).card = subject === 'declined' ? 'declined' : 'good';
      return null;
    }
    const subscription = subscriptionsOf(world, session.customer).find((made) => made.id === subject);
    if (!subscription || !features.subscription_cancel.enabled) throw refused('This cannot be done here.');
    if (what === 'keep') unschedule(world, subscription);
    else if (what !== 'cancel') throw refused('There is no such button.');
    else if (features.subscription_cancel.mode === 'immediately') end(world, subscription, 'cancellation_requested');
    else scheduleByDate(world, subscription, currentPeriod(subscription).end);
    return null;
  },
};

function subscriptionsOf(world: World, customer: string): Subscription[] {
  const own = Object.values(world.state.subscriptions).filter((made) => made.customer === customer && !isOver(made));
  return own.toReversed();
}

const WORDS: { [status: string]: string } = {
  active: 'Active',
  trialing: 'On trial',
  incomplete: 'Not paid yet',
  past_due: 'The last payment failed',
  unpaid: 'Unpaid',
  paused: 'Paused',
};

function subscriptionPart(world: World, made: Subscription, features: PortalConfiguration['features']): Html {
  const [item] = made.items.data;
  const name = item ? world.state.products[item.price.product]?.name : undefined;
  const isEnding = made.cancel_at !== null || made.cancel_at_period_end;
  const ends = made.cancel_at ?? currentPeriod(made).end;
  const { enabled, mode } = features.subscription_cancel;
  const press = mode === 'immediately' ? 'Cancel now' : 'Cancel at the end of the period';
  return html`
<h2>${name ?? 'Subscription'}</h2>
<p>${item ? rate(item.price) : null}</p>
<p>${WORDS[made.status] ?? made.status}. ${isEnding ? `Ends on ${day(ends)}` : `Renews on ${day(ends)}`}.</p>
${
  enabled
    ? html`<form method="post">${
        isEnding
          ? html`<button class="main" name="action" value="keep ${made.id}">Keep the subscription</button>`
          : html`<button name="action" value="cancel ${made.id}">${press}</button>`
      }</form>`
    : null
}`;
}

function cardPart(world: World, customer: string): Html {
  const isGood = world.wallet(customer).card === 'good';
  return html`
<h2>Card</h2>
<p>${isGood ? 'Card 4242, which is accepted.' : 'A card that will be declined.'}</p>
<form method="post">${
    isGood
      ? html`<button name="action" value="card declined">Use a card that is declined</button>`
      : html`<button name="action" value="card good">Use card 4242</button>`
  }</form>`;
}

function invoicesPart(invoices: readonly Invoice[]): Html {
  const rows = invoices.map(
    (invoice) => html`
  <tr><td>${
    invoice.hosted_invoice_url
      ? html`<a href="${invoice.hosted_invoice_url}">${day(invoice.created)}</a>`
      : day(invoice.created)
  }</td><td>${invoice.status}</td><td>${money(invoice.total, invoice.currency)}</td></tr>`,
  );
  if (rows.length === 0) return html`<h2>Invoices</h2><p>There are none yet.</p>`;
  return html`
<h2>Invoices</h2>
<table>
<thead><tr><th scope="col">Date</th><th scope="col">Status</th><th scope="col">Amount</th></tr></thead>
<tbody>${rows}</tbody>
</table>`;
}
