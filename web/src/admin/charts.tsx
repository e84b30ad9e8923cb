import { Text } from '@mantine/core';
import { useElementSize } from '@mantine/hooks';
import styles from './charts.module.css';
import { Rows } from './rows.tsx';

const COLORS = ['indigo-5', 'orange-6', 'teal-6', 'grape-5', 'red-6', 'cyan-6', 'lime-7', 'gray-6'].map(
  (name) => `var(--mantine-color-${name})`,
);
/** Lines are told apart without colours too. */
const DASHES = ['', '6 4', '2 4', '10 4 2 4'];
/** More than there are colours cannot be told apart; the table has them all. */
export const MOST_LINES = COLORS.length;

const HEIGHT = 240;
const EDGE = { left: 68, right: 8, top: 10, bottom: 24 };
/** Pixels that a label on the horizontal axis takes. */
const LABEL_WIDTH = 80;
const MOST_DOTS = 40;

type Line = { name: string; values: readonly number[] };
type ChartProps = {
  title: string;
  kind: 'lines' | 'stacked';
  /** Of each point on the horizontal axis. */
  labels: readonly string[];
  /** What the labels are. */
  axis: string;
  lines: readonly Line[];
  write: (value: number) => string;
};

/** A picture, and behind it the same as a table, for who cannot see it or wants the figures. */
export function Chart(props: ChartProps) {
  const { title, labels, axis, lines, write } = props;
  const { ref, width } = useElementSize();
  const shown = lines.slice(0, MOST_LINES);
  return (
    <figure className={styles.figure}>
      <figcaption>
        <Text size="sm" fw={600}>
          {title}
        </Text>
      </figcaption>
      <div ref={ref} aria-hidden="true">
        <div className={styles.space}>{width > 0 && <Picture {...props} lines={shown} width={width} />}</div>
        {shown.length > 1 && (
          <ul className={styles.legend}>
            {shown.map(({ name }, nth) => (
              <li key={name}>
                <svg width="18" height="10" aria-hidden="true">
                  {props.kind === 'lines' ? (
                    <path d="M0 5H18" stroke={COLORS[nth]} strokeWidth="3" strokeDasharray={DASHES[nth % 4]} />
                  ) : (
                    <rect width="14" height="10" rx="2" fill={COLORS[nth]} />
                  )}
                </svg>
                {name}
              </li>
            ))}
          </ul>
        )}
      </div>
      <details className={styles.table}>
        <summary>The same as a table</summary>
        <Rows
          caption={title}
          rows={labels.map((label, at) => ({ label, at }))}
          keyOf={({ label }) => label}
          empty="No figures"
          columns={[
            { name: axis, show: ({ label }) => label },
            ...lines.map(({ name, values }) => ({
              name,
              show: ({ at }: { at: number }) => write(values[at] ?? 0),
              isFigure: true,
            })),
          ]}
        />
      </details>
    </figure>
  );
}

function Picture({ kind, labels, lines, write, width }: ChartProps & { width: number }) {
  const heights = lines.map((line, nth) =>
    line.values.map((value, at) => (kind === 'lines' ? [0, value] : stackedOn(lines.slice(0, nth), at, value))),
  );
  const all = heights.flat(2);
  const ticks = ticksBetween(Math.min(0, ...all), Math.max(0, ...all));
  const [least = 0, most = 1] = [ticks[0], ticks.at(-1)];
  const step = (width - EDGE.left - EDGE.right) / Math.max(1, labels.length);
  const x = (at: number) => EDGE.left + step * (at + 0.5);
  const y = (value: number) => EDGE.top + ((most - value) / (most - least || 1)) * (HEIGHT - EDGE.top - EDGE.bottom);
  const every = Math.ceil(LABEL_WIDTH / step);
  return (
    <svg width={width} height={HEIGHT} viewBox={`0 0 ${width} ${HEIGHT}`} className={styles.svg} aria-hidden="true">
      {ticks.map((tick) => (
        <g key={tick}>
          <path
            d={`M${EDGE.left} ${y(tick)}H${width - EDGE.right}`}
            className={tick === 0 ? styles.zero : styles.grid}
          />
          <text x={EDGE.left - 8} y={y(tick)} dy="0.32em" textAnchor="end">
            {write(tick)}
          </text>
        </g>
      ))}
      {labels.map(
        (label, at) =>
          at % every === 0 && (
            <text key={label} x={x(at)} y={HEIGHT - 6} textAnchor="middle">
              {label}
            </text>
          ),
      )}
      {lines.map(({ name }, nth) =>
        kind === 'lines' ? (
          <g key={name} stroke={COLORS[nth]} fill={COLORS[nth]}>
            <polyline
              points={heights[nth]?.map(([, top = 0], at) => `${x(at)},${y(top)}`).join(' ')}
              fill="none"
              strokeWidth="2"
              strokeDasharray={DASHES[nth % 4]}
            />
            {labels.length <= MOST_DOTS &&
              heights[nth]?.map(([, top = 0], at) => <circle key={labels[at]} cx={x(at)} cy={y(top)} r="2.5" />)}
          </g>
        ) : (
          <g key={name} fill={COLORS[nth]}>
            {heights[nth]?.map(([from = 0, to = 0], at) => (
              <rect
                key={labels[at]}
                x={x(at) - step * 0.36}
                width={step * 0.72}
                y={y(Math.max(from, to))}
                height={Math.abs(y(from) - y(to))}
              />
            ))}
          </g>
        ),
      )}
      {labels.map((label, at) => (
        <rect key={label} x={x(at) - step / 2} y="0" width={step} height={HEIGHT} className={styles.hover}>
          <title>{[label, ...lines.map(({ name, values }) => `${name}: ${write(values[at] ?? 0)}`)].join('\n')}</title>
        </rect>
      ))}
    </svg>
  );
}

/** From where to where a value's bar goes: on those of the same sign before it. */
function stackedOn(before: readonly Line[], at: number, value: number): [number, number] {
  const below = before
    .map(({ values }) => values[at] ?? 0)
    .filter((one) => one < 0 === value < 0)
    .reduce((sum, one) => sum + one, 0);
  return [below, below + value];
}

/** Round values from at or below the least to at or above the most, about four of them. */
function ticksBetween(least: number, most: number): number[] {
  const rough = (most - least || 1) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough) ?? rough;
  const [first, last] = [Math.floor(least / step), Math.ceil(most / step)];
  return Array.from({ length: Math.max(2, last - first + 1) }, (_, nth) =>
    Number(((first + nth) * step).toPrecision(12)),
  );
}
