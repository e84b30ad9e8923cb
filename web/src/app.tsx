import { Suspense } from 'react';
import { Redirect, Route, Router, Switch, useLocation } from 'wouter';
import { SignIn } from './accounts/sign-in.tsx';
import { Broken } from './shell/broken.tsx';
import { useQueryOnce } from './shell/in-address.ts';
import { Layout } from './shell/layout.tsx';
import { NotFound } from './shell/not-found.tsx';
import { lazyPart } from './shell/online.ts';
import { Loading } from './shell/states.tsx';

const Account = lazyPart(() => import('./accounts/account.tsx').then((file) => file.Account));
const Author = lazyPart(() => import('./analytics/author.tsx').then((file) => file.Author));
const Credits = lazyPart(() => import('./credits/credits.tsx').then((file) => file.Credits));
const Package = lazyPart(() => import('./catalog/package.tsx').then((file) => file.Package));
const Packages = lazyPart(() => import('./catalog/packages.tsx').then((file) => file.Packages));
const Admin = lazyPart(() => import('./admin/page.tsx').then((file) => file.Admin));
const Playground = lazyPart(() => import('./runs/playground.tsx').then((file) => file.Playground));
const SharedResult = lazyPart(() => import('./sessions/shared.tsx').then((file) => file.SharedResult));

/** The pages. The server knows their first words, too: src/http/page.ts. */
export function App() {
  return (
    <Router searchHook={useQueryOnce}>
      <Layout>
        <Pages />
      </Layout>
    </Router>
  );
}

function Pages() {
  const [path] = useLocation();
  return (
    <Broken key={path}>
      <Suspense fallback={<Loading />}>
        <Switch>
          <Route path="/">
            <Redirect to="/playground" replace />
          </Route>
          <Route path="/playground" component={Playground} />
          <Route path="/playground/shared/:token" component={SharedResult} />
          <Route path="/packages" component={Packages} />
          <Route path="/packages/*">{({ '*': name }) => <Package key={name} name={name} />}</Route>
          <Route path="/credits" component={Credits} />
          <Route path="/account" component={Account} />
          <Route path="/author" component={Author} />
          <Route path="/admin/*?" component={Admin} />
          <Route path="/sign-in" component={SignIn} />
          <Route component={NotFound} />
        </Switch>
      </Suspense>
    </Broken>
  );
}
