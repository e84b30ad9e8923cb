import styles from '../shell/states.module.css';
import { useTitle } from '../shell/title.ts';

export function Playground() {
  useTitle('Playground');
  return (
    <div className={styles.page}>
      <h1>Playground</h1>
      <p>
        This page signs you in and shows what you have. Packages are run over the API so far:{' '}
        <a href="/docs">every route</a>, with what it takes and answers.
      </p>
    </div>
  );
}
