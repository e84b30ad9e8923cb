import styles from '../shell/states.module.css';
import { useTitle } from '../shell/title.ts';

export function Playground() {
  useTitle('Playground');
  return (
    <div className={styles.page}>
      <h1>Playground</h1>
    </div>
  );
}
