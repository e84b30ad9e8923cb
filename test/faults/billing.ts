// Subscriptions, packs, refunds and what Stripe tells, by signed bytes. Faults 53 to 63.
import { expect } from 'vitest';
import type { Answer, Person } from '../http/house.ts';
import { HOUR } from '../stripe/shop.ts';
import { good, type Place, type Room, said, tally, WEBHOOKS } from './place.ts';

/** The event of the newest payment, of which nobody has been told; the others are told. */
async function paymentEvent(place: Place, type = 'payment_intent.succeeded'): Promise<string> {
  const events = place.news();
  const event = events.findLast((one) => one.type === type) ?? expect.fail(`there is no ${type}`);
  for (const { id } of events) if (id !== event.id) expect((await place.send(place.bytes(id))).status).toBe(200);
  return event.id;
}
/** The same event with its object changed, as if Stripe had signed that. */
function changed(place: Place, event: string, lie: object): string {
  const told = JSON.parse(place.bytes(event));
  Object.assign(told.data.object, lie);
  return JSON.stringify(told);
}
async function purchaseOf(place: Place, id: string) {
  const [row] = await place.owner`
    select status, credits_taken_back::int as taken, shortfall::int as short from purchases where id = ${id}`;
  return row ?? expect.fail('there is no such purchase');
}
const statusOf = async (place: Place, event: string) =>
  (await place.owner`select status from stripe_events where id = ${event}`)[0]?.status;
const countOf = async (place: Place, who: Person, type: string) =>
  (await place.movements(who)).filter((one) => one.type === type).length;

export const billing: Room = {
  name: 'Billing',
  faults: [
    {
      number: 53,
      there: 'Any change of an active subscription refills it: cancel and resume make credits without end',
      async ours(place) {
        const who = await place.newcomer();
        const subscription = await place.subscribe(who);
        await place.spend(who, 60);
        const before = await place.credits(who);
        for (let toggle = 0; toggle < 3; toggle += 1)
          for (const action of ['cancel', 'resume'])
            good(await place.ask('POST', `/playground/subscription/${action}`, who));
        await place.client.subscriptions.update(subscription, { metadata: { note: 'changed' } });
        const events = place.stripe.events('customer.subscription.updated').length;
        await place.settle();
        const after = await place.credits(who);
        expect(after.monthly).toEqual(before.monthly);
        expect([after.balance, await countOf(place, who, 'monthly')]).toEqual([before.balance, 1]);
        return `canceled and resumed three times, metadata changed (${events} such events): balance ${before.balance} → ${after.balance}, ${await countOf(place, who, 'monthly')} grant`;
      },
    },
    {
      number: 54,
      there: 'Events are not known again: one that is repeated pays once more',
      async ours(place) {
        const who = await place.newcomer();
        await place.checkOutPack(who);
        const event = await paymentEvent(place);
        const one = [];
        for (let n = 0; n < 5; n += 1) one.push(await place.send(place.bytes(event)));
        const many = await Promise.all(Array.from({ length: 20 }, () => place.send(place.bytes(event))));
        await place.settle();
        const { balance } = await place.credits(who);
        expect([tally(one), tally(many), balance, await countOf(place, who, 'purchase')]).toEqual([
          ...['5× 200', '20× 200', 105, 1],
        ]);
        return `one payment told 5 times in turn (${tally(one)}) and 20 at once (${tally(many)}): ${await countOf(place, who, 'purchase')} grant, balance ${balance}`;
      },
    },
    {
      number: 55,
      there: 'Two endpoints do the same work: with both set up everything is granted twice',
      async ours(place) {
        const who = await place.newcomer();
        await place.checkOutPlan(who);
        await place.checkOutPack(who);
        const events = place.news();
        const answers: Answer[] = [];
        for (const { id } of events) {
          const both = WEBHOOKS.map((path) => place.send(place.bytes(id), path));
          answers.push(...(await Promise.all(both)));
        }
        await place.stripeIdle();
        await place.settle();
        const { balance, breakdown } = await place.credits(who);
        expect([balance, tally(answers)]).toEqual([205, `${events.length * 2}× 200`]);
        return `${events.length} events to both addresses at once (${tally(answers)}): ${breakdown.monthly} monthly, ${breakdown.purchased} purchased, balance ${balance}`;
      },
    },
    {
      number: 56,
      there: 'A refund fails after it has deducted, so that each of Stripe’s tries deducts again',
      async ours(place) {
        const who = await place.somebody(200);
        const { purchase, payment } = await place.buy(who);
        const before = (await place.credits(who)).balance;
        place.stripe.refund(payment);
        const event = await paymentEvent(place, 'charge.refunded');
        const answers = [];
        for (let n = 0; n < 3; n += 1) answers.push(await place.send(place.bytes(event)));
        await place.settle();
        const after = (await place.credits(who)).balance;
        const { status } = await purchaseOf(place, purchase);
        expect([after - before, await countOf(place, who, 'refund'), status, tally(answers)]).toEqual([
          ...[-100, 1, 'refunded', '3× 200'],
        ]);
        return `told three times (${tally(answers)}): balance ${before} → ${after}, ${await countOf(place, who, 'refund')} line in the ledger, purchase ${status}`;
      },
    },
    {
      number: 57,
      there: 'A refund of a part takes everything, one after something was spent takes nothing',
      async ours(place) {
        const [part, spent] = [await place.newcomer(), await place.newcomer()];
        const [first, second] = [await place.buy(part), await place.buy(spent)];
        place.stripe.refund(first.payment, 250);
        await place.spend(spent, 35);
        place.stripe.refund(second.payment);
        await place.settle();
        const [half, whole] = [await purchaseOf(place, first.purchase), await purchaseOf(place, second.purchase)];
        const left = [(await place.credits(part)).balance, (await place.credits(spent)).balance];
        expect([half.taken, whole.taken, whole.short, left]).toEqual([50, 70, 30, [55, 0]]);
        return `$2.50 of $5.00 back takes ${half.taken} of 100 (balance ${left[0]}); all back after 30 of them were spent takes ${whole.taken}, balance ${left[1]}, shortfall ${whole.short}`;
      },
    },
    {
      number: 58,
      there: 'Amount, credits and user are believed from metadata',
      async ours(place) {
        const [liar, cheap, unknown] = [await place.newcomer(), await place.newcomer(), await place.newcomer()];
        const tell = async (who: Person, lie: (purchase: string) => object) => {
          const purchase = await place.checkOutPack(who);
          const event = place.news().findLast(({ type }) => type === 'payment_intent.succeeded')?.id ?? '';
          const answer = await place.send(changed(place, event, lie(purchase)));
          return `${answer.status} ${await statusOf(place, event)}, balance ${(await place.credits(who)).balance}`;
        };
        const more = await tell(liar, (purchase_id) => ({ metadata: { purchase_id, credits: '100000' } }));
        const less = await tell(cheap, () => ({ amount_received: 1 }));
        const other = await tell(unknown, () => ({ currency: 'jpy' }));
        expect([more, less, other]).toEqual([
          ...['200 applied, balance 105', '200 needs_review, balance 5', '200 needs_review, balance 5'],
        ]);
        return `credits 100000 in metadata: ${more}; 0.01 dollars received: ${less}; in yen: ${other}`;
      },
    },
    {
      number: 59,
      there: 'Grant and purchase are two transactions: a crash in between grants twice; the ledger names no purchase',
      needsTrigger: true,
      async ours(place) {
        const who = await place.newcomer();
        const purchase = await place.checkOutPack(who);
        await place.owner.unsafe(`
          create function fail() returns trigger language plpgsql as $$ begin raise exception 'crash' using errcode = 'XX001'; end $$;
          create trigger fail before update on purchases for each row execute function fail();`);
        const event = await paymentEvent(place);
        await place.stripeIdle(); // what the other events asked for fails too
        const crashed = [await place.send(place.bytes(event)), await place.send(place.bytes(event))];
        const between = (await place.credits(who)).balance;
        await place.owner.unsafe('drop trigger fail on purchases; drop function fail()');
        const again = await place.send(place.bytes(event));
        await place.advance(HOUR);
        await place.ops`select ops.retry_stripe_events()`;
        await place.stripeIdle();
        const { balance } = await place.credits(who);
        const lines = await place.owner`
          select purchase_id from credit_transactions where user_id = ${who.userId} and type = 'purchase'`;
        expect([between, balance, lines.map(({ purchase_id }) => purchase_id)]).toEqual([5, 105, [purchase]]);
        return `the purchase’s row fails twice (${tally(crashed)}): balance ${between}; then told again (${again.status}) and retried: ${balance}, ${lines.length} line in the ledger, with its purchase`;
      },
    },
    {
      number: 60,
      there: 'Every failure is the same 400, and the secret’s name in the guide is not the one that is read',
      async ours(place) {
        const who = await place.newcomer();
        await place.checkOutPack(who);
        const event = await paymentEvent(place);
        const forged = await place.send(place.bytes(event), WEBHOOKS[0], 'whsec_other');
        const down = await place.outage(() => place.send(place.bytes(event)));
        const up = await place.send(place.bytes(event));
        const stranger = await place.client.customers.create({ email: 'stranger@example.com' });
        const product_data = { name: 'Hat' };
        const session = await place.client.checkout.sessions.create({
          ...{ mode: 'payment', customer: stranger.id, success_url: 'https://app.example/yes' },
          line_items: [{ quantity: 1, price_data: { currency: 'usd', unit_amount: 500, product_data } }],
        });
        place.stripe.pay(session.id);
        const unknown = place.news().findLast(({ type }) => type === 'payment_intent.succeeded')?.id ?? '';
        const answer = await place.send(place.bytes(unknown));
        expect([said(forged), said(down), said(up), said(answer), await statusOf(place, unknown)]).toEqual([
          ...['400 webhook_signature_invalid', '503 database_unavailable', '200', '200', 'ignored'],
        ]);
        expect((await place.credits(who)).balance).toBe(105);
        const [name] = Object.keys(place.variables).filter((one) => one.endsWith('WEBHOOK_SECRET'));
        return `with ${name}: forged ${said(forged)}, database down ${said(down)}, then ${said(up)}; of an unknown customer ${said(answer)}, kept as ${await statusOf(place, unknown)}`;
      },
    },
    {
      number: 61,
      there: 'Cancelling what has ended is a 500, cancelling twice is done twice, and past due counts as inactive',
      async ours(place) {
        const who = await place.newcomer();
        const subscription = await place.subscribe(who);
        const cancel = () => place.ask('POST', '/playground/subscription/cancel', who);
        const asked = () =>
          place.stripe.calls.filter(({ method, path }) => method === 'POST' && path.endsWith(subscription)).length;
        const before = asked();
        const answers = [await cancel(), await cancel()];
        const calls = asked() - before;
        place.stripe.cancelNow(subscription);
        await place.settle();
        const ended = await cancel();

        const late = await place.newcomer();
        await place.subscribe(late);
        place.stripe.setCard(await place.customerOf(late), 'declined');
        await place.passPeriod(late);
        await place.settle();
        const { isActive, status } = await place.get('/playground/subscription', late);
        expect([tally(answers), calls, said(ended), isActive, status]).toEqual([
          ...['2× 200', 1, '404 no_subscription', true, 'past_due'],
        ]);
        return `canceled twice: ${tally(answers)}, ${calls} call of Stripe; after its end: ${said(ended)}; ${status} within the days of grace: isActive ${isActive}`;
      },
    },
    {
      number: 62,
      there:
        'Who leaves an organization keeps its price and loses its tier; who joins pays on; verification is ignored',
      async ours(place) {
        const who = await place.newcomer();
        const root = await place.administrator();
        await place.subscribe(who);
        const [team] = await place.ops`select id from ops.create_organization('rule')`;
        const seen: string[] = [];
        const look = async (when: string) => {
          await place.ops`select ops.align_prices()`;
          await place.stripeIdle();
          await place.settle();
          await place.ops`select refresh_user_cost_analytics()`;
          const { price } = await place.get('/playground/pricing', who);
          const { tier } = await place.get('/playground/limits', who);
          const { users } = await place.get('/admin/cost-analytics/users?limit=100', root);
          const revenue = users.find(({ user_id }: { user_id: string }) => user_id === who.userId)?.monthly_revenue;
          const [paid] = await place.owner`
            select paid_amount::float8 as dollars from subscription_periods where user_id = ${who.userId} order by period_start desc limit 1`;
          seen.push(`${when}: offered ${price}, paid ${paid?.dollars}, revenue ${revenue}, ${tier}`);
        };
        await place.ops`select from ops.add_member(${team?.id}, ${who.userId}, 'member')`;
        await look('member of an unverified one');
        await place.ops`select from ops.verify_organization(${team?.id}, true, 'a fault')`;
        await look('verified');
        await place.passPeriod(who);
        await look('next month');
        await place.ops`select from ops.remove_member(${team?.id}, ${who.userId})`;
        await look('left');
        await place.passPeriod(who);
        await look('next month');
        expect(seen).toEqual([
          'member of an unverified one: offered 6, paid 6, revenue 6, prpm_plus_individual',
          'verified: offered 3, paid 6, revenue 6, prpm_plus_individual',
          'next month: offered 3, paid 3, revenue 3, prpm_plus_org',
          'left: offered 6, paid 3, revenue 3, prpm_plus_org',
          'next month: offered 6, paid 6, revenue 6, prpm_plus_individual',
        ]);
        return seen.join('; ');
      },
    },
    {
      number: 63,
      there: 'Whoever has no e-mail address cannot buy: not authenticated',
      async ours(place) {
        const made = async (name: string): Promise<Person> => {
          const [row] = await place.ops`select user_id, token from ops.create_user(null, ${name})`;
          return { userId: row?.user_id, token: row?.token };
        };
        const [buyer, subscriber] = [await made('nameless'), await made('shy')];
        await place.buy(buyer);
        await place.subscribe(subscriber);
        const balances = [(await place.credits(buyer)).balance, (await place.credits(subscriber)).balance];
        const [row] = await place.owner`
          select count(*)::int as n from users where email is null and id in (${buyer.userId}, ${subscriber.userId})`;
        expect([balances, row?.n]).toEqual([[105, 105], 2]);
        return `${row?.n} people without one: a pack leaves ${balances[0]}, a subscription ${balances[1]} credits`;
      },
    },
  ],
};
