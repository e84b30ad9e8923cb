// Figures day by day as bars, and behind them as a table that can be read out, copied and printed.

import styles from './day-chart.module.css';
import { shortDay, whole } from './format.ts';

type Column = { name: string; values: (number | null)[] };

type DayChartProps = {
  /** What is shown, in a few words. */
  title: string;
  days: string[];
  /** What the bars show. */
  bars: number[];
  /** From which bar on they are expected, not known; none where left out. */
  aheadFrom?: number;
  /** The table's columns beside the day. */
  columns: Column[];
};

const HEIGHT = 100;
/** Of a bar with its gap. */
const STEP = 10;

export function DayChart({ title, days, bars, aheadFrom = days.length, columns }: DayChartProps) {
  const most = Math.max(1, ...bars);
  const heightOf = (value: number) => (value <= 0 ? 0 : Math.max(1.5, (HEIGHT * value) / most));
  return (
    <figure className={styles.figure}>
      <div className={styles.ends} aria-hidden="true">
        <span>{whole(most)}</span>
      </div>
      <svg
        className={styles.chart}
        viewBox={`0 0 ${STEP * Math.max(1, days.length)} ${HEIGHT}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={`${title}. The table below has the figures.`}
      >
        <line className={styles.line} x1="0" x2={STEP * days.length} y1={HEIGHT} y2={HEIGHT} />
        {bars.map((value, nth) => (
          <g key={days[nth]}>
            <rect
              className={styles.bar}
              data-ahead={nth >= aheadFrom || undefined}
              x={STEP * nth + 1}
              width={STEP - 2}
              y={HEIGHT - heightOf(value)}
              height={heightOf(value)}
            />
            <rect className={styles.hit} x={STEP * nth} width={STEP} y={0} height={HEIGHT}>
              <title>{`${shortDay(days[nth] ?? '')}: ${whole(value)}`}</title>
            </rect>
          </g>
        ))}
      </svg>
      <div className={styles.ends} aria-hidden="true">
        <span>{shortDay(days[0] ?? '')}</span>
        {aheadFrom > 0 && aheadFrom < days.length && <span>today</span>}
        <span>{shortDay(days.at(-1) ?? '')}</span>
      </div>
      <details>
        <summary>Figures</summary>
        {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, and keys have to reach it */}
        <section className={styles.table} tabIndex={0} aria-label={title}>
          <table>
            <thead>
              <tr>
                <th scope="col">Day (UTC)</th>
                {columns.map(({ name }) => (
                  <th key={name} scope="col">
                    {name}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {days.map((day, nth) => (
                <tr key={day}>
                  <th scope="row">{shortDay(day)}</th>
                  {columns.map(({ name, values }) => {
                    const value = values[nth];
                    return <td key={name}>{value == null ? '' : whole(value)}</td>;
                  })}
                </tr>
              ))}
            </tbody>
          </table>
        </section>
      </details>
    </figure>
  );
}
