import { ActionIcon, Button, Drawer, Menu, useComputedColorScheme, useMantineColorScheme } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { useMutation } from '@tanstack/react-query';
import { type ReactNode, useEffect } from 'react';
import { Link, useLocation } from 'wouter';
import { leaveAccount } from '../accounts/leave.ts';
import { signInPath, useViewer, type Viewer } from '../accounts/viewer.ts';
import { Balance } from '../credits/balance.tsx';
import { trpc } from '../trpc.ts';
import icon from './icon.svg';
import { IconMenu, IconMoon, IconSun, IconUser } from './icons.tsx';
import { Keys } from './keys.tsx';
import styles from './layout.module.css';
import { Notice } from './notice.tsx';

type Place = { path: string; name: string; for?: 'people' | 'admins' };

/** Those that there are, and for whom if not for anybody. */
const PLACES: readonly Place[] = [
  { path: '/playground', name: 'Playground' },
  { path: '/packages', name: 'Packages' },
  { path: '/credits', name: 'Credits' },
  { path: '/author', name: 'Author', for: 'people' },
  { path: '/admin', name: 'Admin', for: 'admins' },
];

function placesFor(viewer: Viewer | null | undefined): Place[] {
  return PLACES.filter((place) =>
    place.for === 'admins' ? viewer?.isAdmin : place.for === 'people' ? viewer != null : true,
  );
}

export function Layout({ children }: { children: ReactNode }) {
  const viewer = useViewer();
  const places = placesFor(viewer);
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
        <Link href="/playground" className={styles.home} aria-label="PRPM Playground">
          <img src={icon} alt="" />
          <span className={styles.word}>PRPM Playground</span>
        </Link>
        <nav className={styles.links} aria-label="Main">
          <Places places={places} />
        </nav>
        <div className={styles.tools}>
          {viewer === undefined && <span className={styles.soon} />}
          {viewer && <Balance />}
          <Keys places={places} isVisitor={viewer == null} />
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
      onSuccess: leaveAccount,
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
