import { ActionIcon, Button, Drawer, Menu, useComputedColorScheme, useMantineColorScheme } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { useMutation } from '@tanstack/react-query';
import { type ReactNode, useEffect } from 'react';
import { Link, useLocation } from 'wouter';
import { signInPath, useViewer, type Viewer } from '../accounts/viewer.ts';
import { Balance } from '../credits/balance.tsx';
import { queryClient, trpc } from '../trpc.ts';
import icon from './icon.svg';
import { IconMenu, IconMoon, IconSun, IconUser } from './icons.tsx';
import styles from './layout.module.css';
import { Notice } from './notice.tsx';

type Place = { path: string; name: string };

/** Those that there are. */
const places: readonly Place[] = [{ path: '/playground', name: 'Playground' }];

export function Layout({ children }: { children: ReactNode }) {
  const viewer = useViewer();
  const [location] = useLocation();
  const [isOpen, menu] = useDisclosure(false);
  // biome-ignore lint/correctness/useExhaustiveDependencies: closed by each change of place
  useEffect(() => menu.close(), [location]);

  return (
    <>
      <a href="#main" className="skip">
        Skip to content
      </a>
      <header className={styles.bar}>
        <ActionIcon
          className={styles.narrow}
          variant="subtle"
          color="gray"
          size="lg"
          aria-label="Menu"
          onClick={menu.open}
        >
          <IconMenu />
        </ActionIcon>
        <Link href="/playground" className={styles.home}>
          <img src={icon} alt="" />
          <span className={styles.word}>PRPM Playground</span>
        </Link>
        <nav className={styles.links} aria-label="Main">
          <Places places={places} />
        </nav>
        <div className={styles.tools}>
          {viewer && <Balance />}
          <SchemeToggle />
          {viewer && <Person viewer={viewer} />}
          {viewer === null && (
            <Button component={Link} href={signInPath()} size="compact-md">
              Sign in
            </Button>
          )}
        </div>
      </header>
      <Drawer opened={isOpen} onClose={menu.close} title="Menu" size="xs">
        <nav aria-label="Menu">
          <Places places={places} />
        </nav>
      </Drawer>
      <Notice />
      <main id="main" tabIndex={-1} className={styles.main}>
        {children}
      </main>
    </>
  );
}

function Places({ places }: { places: readonly Place[] }) {
  const [location] = useLocation();
  return places.map(({ path, name }) => (
    <Link
      key={path}
      href={path}
      className={styles.link}
      style={{ display: 'block' }}
      aria-current={location === path || location.startsWith(`${path}/`) ? 'page' : undefined}
    >
      {name}
    </Link>
  ));
}

function SchemeToggle() {
  const { setColorScheme } = useMantineColorScheme();
  const isDark = useComputedColorScheme('light') === 'dark';
  return (
    <ActionIcon
      variant="subtle"
      color="gray"
      size="lg"
      aria-label={isDark ? 'Use light colors' : 'Use dark colors'}
      onClick={() => setColorScheme(isDark ? 'light' : 'dark')}
    >
      {isDark ? <IconSun /> : <IconMoon />}
    </ActionIcon>
  );
}

function Person({ viewer }: { viewer: Viewer }) {
  const signOut = useMutation(
    trpc.accounts.signOut.mutationOptions({
      onSuccess: () => {
        queryClient.clear();
        window.location.assign('/playground');
      },
    }),
  );
  return (
    <Menu position="bottom-end" width={220}>
      <Menu.Target>
        <ActionIcon variant="light" size="lg" radius="xl" aria-label={`Account of ${viewer.username}`}>
          <IconUser />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>{viewer.username}</Menu.Label>
        <Menu.Item component={Link} href="/account">
          Account
        </Menu.Item>
        <Menu.Item component={Link} href="/credits">
          Credits
        </Menu.Item>
        <Menu.Divider />
        <Menu.Item onClick={() => signOut.mutate(undefined)}>Sign out</Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
