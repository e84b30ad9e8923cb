// The few pictures that the page uses, drawn here so that none comes from elsewhere.
import type { ReactNode } from 'react';

const draw = (content: ReactNode) =>
  function Icon({ size = 18 }: { size?: number }) {
    return (
      <svg
        width={size}
        height={size}
        viewBox="0 0 24 24"
        fill="none"
        stroke="currentColor"
        strokeWidth="2"
        strokeLinecap="round"
        strokeLinejoin="round"
        aria-hidden="true"
      >
        {content}
      </svg>
    );
  };

export const IconSun = draw(
  <>
    <circle cx="12" cy="12" r="4" />
    <path d="M12 2v2M12 20v2M4.9 4.9l1.4 1.4M17.7 17.7l1.4 1.4M2 12h2M20 12h2M4.9 19.1l1.4-1.4M17.7 6.3l1.4-1.4" />
  </>,
);
export const IconMoon = draw(<path d="M21 13A9 9 0 1 1 11 3a7 7 0 0 0 10 10z" />);
export const IconMenu = draw(<path d="M4 6h16M4 12h16M4 18h16" />);
export const IconUser = draw(
  <>
    <circle cx="12" cy="8" r="4" />
    <path d="M4 21c1-4 4-6 8-6s7 2 8 6" />
  </>,
);
export const IconPlay = draw(<path d="M7 4l13 8-13 8z" fill="currentColor" />);
export const IconStop = draw(<rect x="5" y="5" width="14" height="14" rx="2" fill="currentColor" />);
export const IconShare = draw(
  <>
    <path d="M12 15V3M7 8l5-5 5 5" />
    <path d="M5 13v6a2 2 0 0 0 2 2h10a2 2 0 0 0 2-2v-6" />
  </>,
);
export const IconPen = draw(<path d="M4 20l1-5L16 4l4 4L9 19z" />);
export const IconTrash = draw(<path d="M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13" />);
export const IconCopy = draw(
  <>
    <rect x="9" y="9" width="11" height="11" rx="2" />
    <path d="M5 15H4V4h11v1" />
  </>,
);
export const IconCheck = draw(<path d="M4 12l5 5L20 6" />);
export const IconPlus = draw(<path d="M12 5v14M5 12h14" />);
export const IconSearch = draw(
  <>
    <circle cx="11" cy="11" r="7" />
    <path d="M20 20l-4-4" />
  </>,
);
export const IconMore = draw(
  <>
    <circle cx="5" cy="12" r="1" />
    <circle cx="12" cy="12" r="1" />
    <circle cx="19" cy="12" r="1" />
  </>,
);
export const IconUp = draw(<path d="M7 21V10l5-7 2 1v6h6l-2 11zM7 10H4v11h3" />);
export const IconDown = draw(<path d="M17 3v11l-5 7-2-1v-6H4L6 3zM17 14h3V3h-3" />);
export const IconList = draw(<path d="M8 6h12M8 12h12M8 18h12M4 6h.01M4 12h.01M4 18h.01" />);
