import { useEffect } from 'react';

/** Where Stripe sends somebody back to. It puts the session's id in for the braces. */
export const returnUrls = (canceled: string) => ({
  successUrl: `${window.location.origin}/credits?checkout={CHECKOUT_SESSION_ID}`,
  cancelUrl: `${window.location.origin}/credits?${canceled}&canceled=yes`,
});

/** Goes to a page of Stripe's. */
export const leaveTo = (url: string) => window.location.assign(url);

/** Who comes back by the browser's own button finds the page as it was left: it must not look busy still. */
export function useComeBack(onBack: () => void): void {
  useEffect(() => {
    const onShow = ({ persisted }: PageTransitionEvent) => {
      if (persisted) onBack();
    };
    window.addEventListener('pageshow', onShow);
    return () => window.removeEventListener('pageshow', onShow);
  }, [onBack]);
}
