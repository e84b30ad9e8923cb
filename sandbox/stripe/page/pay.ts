import { boughtUntil, pay } from '../billing/checkout.ts';
import { rate } from '../billing/subscribe.ts';
import { refused } from '../errors.ts';
import type { Order } from '../state.ts';
import type { Session } from '../wire.ts';
import { find, type World } from '../world.ts';
import { day, type Html, html, money } from './html.ts';
import type { PageOf, Shown } from './pages.ts';

/** GET /pay/<session>: what is bought, and the ways in which it can go. */
export const payPage: PageOf = {
  show(world, id) {
    const session = find(world.state.sessions, 'checkout.session', id);
    const order = find(world.state.orders, 'checkout.session', id);
    if (session.status === 'open') return openPage(session, order);
    return session.status === 'complete' ? completePage(world, session) : expiredPage(session);
  },

  press(world, id, action) {
    const session = find(world.state.sessions, 'checkout.session', id);
    if (session.status !== 'open') return null;
    if (action === 'leave') return session.cancel_url;
    if (action !== 'pay' && action !== 'decline' && action !== 'confirm') throw refused('There is no such button.');
    if (action === 'pay' && session.customer !== null) world.wallet(session.customer).card = 'good';
    const card = action === 'pay' ? 'good' : action === 'decline' ? 'declined' : 'requires_action';
    return pay(world, session, card) ? successUrl(session) : null;
  },
};

function successUrl(session: Session): string | null {
  return session.success_url?.replaceAll('{CHECKOUT_SESSION_ID}', session.id) ?? null;
}

function openPage(session: Session, order: Order): Shown {
  const total = money(session.amount_total ?? 0, session.currency ?? 'usd');
  const isSubscription = session.mode === 'subscription';
  const isFree = session.amount_total === 0;
  const press = isFree ? 'Start without paying' : `Pay ${total} with card 4242`;
  return {
    title: isSubscription ? 'Subscribe' : 'Pay',
    body: html`
${order.lastError === null ? null : html`<p class="alert" role="alert">${order.lastError} Nothing was paid.</p>`}
${itemsTable(session, order, total)}
${session.customer_email === null ? null : html`<p class="soft">For ${session.customer_email}</p>`}
<form method="post">
  <button class="main" name="action" value="pay">${press}</button>
  <button name="action" value="decline">Card is declined</button>
  <button name="action" value="confirm">Bank asks for a confirmation, and does not get it</button>
  ${session.cancel_url === null ? null : html`<button name="action" value="leave">Give up</button>`}
</form>
<p class="soft">This page can be used until ${time(session.expires_at)}.</p>`,
  };
}

function itemsTable(session: Session, order: Order, total: string): Html {
  const currency = session.currency ?? 'usd';
  const discount = session.total_details?.amount_discount ?? 0;
  const rows = order.lines.map(
    (line) => html`
  <tr><th scope="row">${line.description}${(line.quantity ?? 1) > 1 ? ` × ${line.quantity ?? 1}` : ''}</th>
    <td>${line.price ? rate(line.price) : money(line.amount_total, currency)}</td></tr>`,
  );
  return html`
<table>
<tbody>${rows}
${discount === 0 ? null : html`<tr><th scope="row">Discount</th><td>−${money(discount, currency)}</td></tr>`}
</tbody>
<tfoot><tr><th scope="row">To pay now</th><td>${total}</td></tr></tfoot>
</table>`;
}

function completePage(world: World, session: Session): Shown {
  const until = boughtUntil(world, session);
  const next = successUrl(session);
  return {
    title: 'This is done',
    body: html`
<p>${session.payment_status === 'unpaid' ? 'The payment is under way.' : 'The payment came through.'}</p>
${until === null ? null : html`<p>The current period runs until ${day(until)}.</p>`}
${next === null ? null : html`<p><a href="${next}">Go on</a></p>`}`,
  };
}

function expiredPage(session: Session): Shown {
  return {
    title: 'This page has expired',
    body: html`
<p>Nothing was paid, and nothing can be paid here any more.</p>
${session.cancel_url === null ? null : html`<p><a href="${session.cancel_url}">Go back</a></p>`}`,
  };
}

function time(seconds: number): string {
  const shown = new Intl.DateTimeFormat('en-GB', { dateStyle: 'long', timeStyle: 'short', timeZone: 'UTC' });
  return `${shown.format(seconds * 1000)} UTC`;
}
