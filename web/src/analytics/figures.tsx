import { whole } from '../shell/format.ts';
import styles from './author.module.css';

/** Names of figures with the figures. */
export function Figures({ figures }: { figures: Record<string, number | string> }) {
  return (
    <dl className={styles.figures}>
      {Object.entries(figures).map(([name, value]) => (
        <div key={name} className={styles.figure}>
          <dt>{name}</dt>
          <dd>{typeof value === 'number' ? whole(value) : value}</dd>
        </div>
      ))}
    </dl>
  );
}
