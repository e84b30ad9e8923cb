/** So many calls in each second of the wall clock, as Stripe's sandboxes have it; off until it is set. */
export class Limiter {
  perSecond: number | null = null;
  #second = 0;
  #calls = 0;

  admits(): boolean {
    if (this.perSecond === null) return true;
    const second = Math.floor(Date.now() / 1000);
    if (second !== this.#second) this.#calls = 0;
    this.#second = second;
    this.#calls += 1;
    return this.#calls <= this.perSecond;
  }
}
