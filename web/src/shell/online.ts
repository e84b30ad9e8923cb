// Whether there is a connection, as the browser knows it. What is asked meanwhile waits, and is asked when there is one again.
import { onlineManager } from '@tanstack/react-query';
import { type ComponentType, lazy, useSyncExternalStore } from 'react';

const subscribe = (onChange: () => void) => onlineManager.subscribe(onChange);

export const useOnline = () => useSyncExternalStore(subscribe, () => onlineManager.isOnline());

/** A part of the page that is loaded when it is shown, and there is a connection: one that failed to load would be missing until a reload. */
export const lazyPart = <Props>(load: () => Promise<ComponentType<Props>>) =>
  lazy(async () => {
    if (!onlineManager.isOnline())
      await new Promise<void>((settle) => {
        const stop = onlineManager.subscribe((isOnline) => {
          if (!isOnline) return;
          stop();
          settle();
        });
      });
    return { default: await load() };
  });
