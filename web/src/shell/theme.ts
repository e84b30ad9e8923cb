import {
  Anchor,
  type CSSVariablesResolver,
  createTheme,
  Drawer,
  Modal,
  Notification,
  SegmentedControl,
} from '@mantine/core';

/** The library's dialogs have a header that would pass for the page's own, and a button without a name. */
const dialog = { closeButtonProps: { 'aria-label': 'Close' }, attributes: { header: { role: 'presentation' } } };

export const theme = createTheme({
  primaryColor: 'indigo',
  // Light enough to read on, dark enough under white letters: 4.5 to 1 or better in both schemes.
  primaryShade: { light: 7, dark: 8 },
  fontFamily: 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif',
  fontFamilyMonospace: 'ui-monospace, SFMono-Regular, Menlo, Consolas, monospace',
  headings: { fontWeight: '650' },
  defaultRadius: 'md',
  cursorType: 'pointer',
  respectReducedMotion: true,
  components: {
    // Colour alone is not enough to tell a link in a text.
    Anchor: Anchor.extend({ defaultProps: { underline: 'always' } }),
    Modal: Modal.extend({ defaultProps: dialog }),
    Drawer: Drawer.extend({ defaultProps: dialog }),
    // While it fades, a label is too pale to read.
    SegmentedControl: SegmentedControl.extend({ defaultProps: { transitionDuration: 0 } }),
    Notification: Notification.extend({ defaultProps: { closeButtonProps: { 'aria-label': 'Dismiss' } } }),
  },
});

/** The library's dimmed text is too pale to read by, and so are colours on a tint of their own. */
export const cssVariables: CSSVariablesResolver = ({ colors }) => ({
  variables: {},
  light: {
    ...onTint(colors, (name) => `color-mix(in srgb, var(--mantine-color-${name}-9) 60%, black)`),
    '--mantine-color-dimmed': '#59616a',
    '--mantine-color-placeholder': '#6b737c',
    '--mantine-color-error': '#c92a2a',
  },
  dark: {
    ...onTint(colors, (name) => `var(--mantine-color-${name}-1)`),
    '--mantine-color-dimmed': '#a9adb3',
    '--mantine-color-placeholder': '#959aa1',
    '--mantine-color-anchor': '#91a7ff',
  },
});

function onTint(colors: object, colorOf: (name: string) => string): Record<string, string> {
  return Object.fromEntries(Object.keys(colors).map((name) => [`--mantine-color-${name}-light-color`, colorOf(name)]));
}
