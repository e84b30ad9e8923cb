import { lazy, Suspense } from 'react';
import { Redirect, Route, Switch } from 'wouter';
import { SignIn } from './accounts/sign-in.tsx';
import { Layout } from './shell/layout.tsx';
import { NotFound } from './shell/not-found.tsx';
import { Loading } from './shell/states.tsx';

const Playground = lazy(() => import('./runs/playground.tsx').then((file) => ({ default: file.Playground })));

/** The pages. The server knows their first words, too: src/http/page.ts. */
export function App() {
  return (
    <Layout>
      <Suspense fallback={<Loading />}>
        <Switch>
          <Route path="/">
            <Redirect to="/playground" replace />
          </Route>
          <Route path="/playground" component={Playground} />
          <Route path="/sign-in" component={SignIn} />
          <Route component={NotFound} />
        </Switch>
      </Suspense>
    </Layout>
  );
}
