import { collect } from '../billing/invoices.ts';
import { refused } from '../errors.ts';
import { find } from '../world.ts';
import { day, html, money } from './html.ts';
import type { PageOf } from './pages.ts';

/** GET /invoice/<invoice>: where `hosted_invoice_url` leads, to pay what a renewal could not collect. */
export const invoicePage: PageOf = {
  show(world, id) {
    const invoice = find(world.state.invoices, 'invoice', id);
    const amount = (cents: number) => money(cents, invoice.currency);
    const rows = invoice.lines.data.map(
      (line) => html`<tr><th scope="row">${line.description}</th><td>${amount(line.amount)}</td></tr>`,
    );
    const due = invoice.status === 'open' ? invoice.amount_remaining : 0;
    return {
      title: `Invoice ${invoice.number ?? '(draft)'}`,
      body: html`
<p class="soft">${day(invoice.created)}, ${invoice.status}</p>
<table>
<tbody>${rows}</tbody>
<tfoot><tr><th scope="row">Total</th><td>${amount(invoice.total)}</td></tr></tfoot>
</table>
${
  due === 0
    ? html`<p>Nothing is due.</p>`
    : html`<form method="post">
  <button class="main" name="action" value="pay">Pay ${amount(due)} with card 4242</button>
  <button name="action" value="decline">Card is declined</button>
</form>`
}`,
    };
  },

  press(world, id, action) {
    const invoice = find(world.state.invoices, 'invoice', id);
    if (invoice.status !== 'open') return null;
    if (action !== 'pay' && action !== 'decline') throw refused('There is no such button.');
    if (action === 'pay') world.wallet(invoice.customer).card = 'good';
    collect(world, invoice, action === 'pay' ? 'good' : 'declined');
    return null;
  },
};
