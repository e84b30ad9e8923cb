// deploy/: manifests against Kubernetes' own schemas, and against what they start; secrets from files.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Deployment } from 'kubernetes-models/apps/v1/Deployment';
import { HorizontalPodAutoscaler } from 'kubernetes-models/autoscaling/v2/HorizontalPodAutoscaler';
import { Job } from 'kubernetes-models/batch/v1/Job';
import { PodDisruptionBudget } from 'kubernetes-models/policy/v1/PodDisruptionBudget';
import { ConfigMap } from 'kubernetes-models/v1/ConfigMap';
import { Secret } from 'kubernetes-models/v1/Secret';
import { Service } from 'kubernetes-models/v1/Service';
import { afterAll, describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { environmentSchema, readEnvironment } from '../../src/config/environment.ts';
import { withSecretFiles } from '../../src/config/secret-files.ts';
import { startServer } from '../../src/server.ts';
import { createLog } from '../../src/telemetry/log.ts';
import { createDatabase } from '../harness/database.ts';

const root = resolve(import.meta.dirname, '../..');
const folder = join(root, 'deploy/kubernetes');
type Manifest = { apiVersion: string; kind: string; metadata: { name: string } };

const manifests: { file: string; manifest: Manifest }[] = readdirSync(folder).flatMap((file) =>
  parseAllDocuments(readFileSync(join(folder, file), 'utf8')).map((document) => {
    expect(document.errors).toEqual([]);
    return { file, manifest: document.toJS() };
  }),
);

const models = { Deployment, HorizontalPodAutoscaler, Job, PodDisruptionBudget, ConfigMap, Secret, Service };

// biome-ignore lint/suspicious/noExplicitAny: the schemas above say what it is
function find(kind: string, name: string): any {
  const found = manifests.find(({ manifest }) => manifest.kind === kind && manifest.metadata.name === name);
  return found?.manifest ?? expect.fail(`there is no ${kind} ${name}`);
}

/** The same, and the paths of all that is looked at in it. */
function observed<T extends object>(value: T, seen: Set<string>, path = ''): T {
  return new Proxy(value, {
    get(target, key, receiver) {
      const found = Reflect.get(target, key, receiver);
      if (typeof key !== 'string') return found;
      const here = `${path}/${key}`;
      if (Object.hasOwn(target, key)) seen.add(here);
      return typeof found === 'object' && found !== null ? observed(found, seen, here) : found;
    },
  });
}

function pathsOf(value: unknown, path = ''): string[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => [`${path}/${key}`, ...pathsOf(inner, `${path}/${key}`)]);
}

const deployment = find('Deployment', 'prpm-server');
const job = find('Job', 'prpm-migrate');
const config: Record<string, string> = find('ConfigMap', 'prpm-server').data;
const serverSecrets: Record<string, string> = find('Secret', 'prpm-server').stringData;
const [server] = deployment.spec.template.spec.containers;
const [migrate] = job.spec.template.spec.containers;

describe('the manifests in deploy/kubernetes', () => {
  it.each(manifests.map(({ file, manifest }) => [manifest.kind, manifest.metadata.name, file, manifest] as const))(
    '%s %s (%s) are as the schema of their version has them, and hold no field that it does not know',
    (kind, _name, _file, manifest) => {
      const model = Object.entries(models).find(([name]) => name === kind)?.[1] ?? expect.fail(`no schema for ${kind}`);
      expect([manifest.apiVersion, manifest.kind]).toEqual([model.apiVersion, model.kind]);
      const seen = new Set<string>();
      // A schema is silent about what it does not know: it never looks at it.
      model.prototype.validate.call(observed(manifest, seen));
      expect(pathsOf(manifest).filter((path) => !seen.has(path))).toEqual([]);
    },
  );

  it('would be refused with a field of another name or type', () => {
    const wrong = { ...structuredClone(deployment), kind: 'Deployment' };
    wrong.spec.template.spec.containers[0].readinesProbe = {};
    const seen = new Set<string>();
    Deployment.prototype.validate.call(observed(wrong, seen));
    expect(pathsOf(wrong).filter((path) => !seen.has(path))).toEqual([
      '/spec/template/spec/containers/0/readinesProbe',
    ]);
    wrong.spec.template.spec.containers[0].ports[0].containerPort = 'http';
    expect(() => Deployment.prototype.validate.call(wrong)).toThrow(/containerPort/);
  });

  it('give the server variables that it reads, production among them, and never the password of the owner', () => {
    const known = Object.keys(environmentSchema.shape);
    expect([...Object.keys(config), ...Object.keys(serverSecrets)].filter((name) => !known.includes(name))).toEqual([]);
    const environment = readEnvironment({ ...config, ...serverSecrets });
    expect(environment).toMatchObject({ NODE_ENV: 'production', HOST: '0.0.0.0' });
    expect(new URL(environment.APP_DATABASE_URL).username).toBe('prpm_app');
    expect(environment.ANTHROPIC_API_KEY).toBeUndefined(); // a placeholder counts as missing
    expect(server.envFrom).toEqual([{ configMapRef: { name: 'prpm-server' } }, { secretRef: { name: 'prpm-server' } }]);
    expect(migrate.envFrom).toEqual([{ secretRef: { name: 'prpm-migrate' } }]);
    const owner = find('Secret', 'prpm-migrate').stringData;
    expect(Object.keys(owner)).toEqual(['MIGRATE_DATABASE_URL']);
    expect(new URL(owner.MIGRATE_DATABASE_URL).username).toBe('prpm_owner');
  });

  it('run the image as it is: its user, its port, its programs, one version', () => {
    const dockerfile = readFileSync(join(root, 'Dockerfile'), 'utf8');
    expect(dockerfile).toMatch(/^USER node$/m); // 1000 in Node's images
    for (const pod of [deployment, job]) {
      expect(pod.spec.template.spec.securityContext).toMatchObject({ runAsNonRoot: true, runAsUser: 1000 });
    }
    for (const container of [server, migrate]) {
      expect(container.securityContext).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      });
      expect(container.resources).toMatchObject({ requests: {}, limits: { memory: expect.any(String) } });
      const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
      expect(container.image.split(':').at(-1)).toBe(version);
    }
    expect(String(server.ports[0].containerPort)).toBe(config.PORT);
    expect(existsSync(join(root, migrate.command.at(-1)))).toBe(true);
  });

  it('gives runs the time to end that the server does', () => {
    const spec = deployment.spec.template.spec;
    const grace = spec.terminationGracePeriodSeconds - server.lifecycle.preStop.sleep.seconds;
    expect(grace * 1000).toBeGreaterThanOrEqual(Number(config.DRAIN_MS) + 15_000);
    expect(deployment.spec.strategy.rollingUpdate.maxUnavailable).toBe(0);
  });

  it('select the servers, all of them, and nothing else', () => {
    const labels = deployment.spec.template.metadata.labels;
    const selectors = [
      deployment.spec.selector.matchLabels,
      find('Service', 'prpm-server').spec.selector,
      find('PodDisruptionBudget', 'prpm-server').spec.selector.matchLabels,
    ];
    for (const selector of selectors) expect(selector).toEqual(labels);
    expect(job.spec.template.metadata.labels).not.toEqual(labels);
    expect(find('Service', 'prpm-server').spec.ports[0].targetPort).toBe(server.ports[0].name);
    expect(find('HorizontalPodAutoscaler', 'prpm-server').spec).toMatchObject({
      scaleTargetRef: { kind: 'Deployment', name: 'prpm-server' },
      minReplicas: 2,
    });
  });

  it('probe what the server answers', async () => {
    const database = await createDatabase();
    const environment = readEnvironment({
      ...{ ...config, ...serverSecrets },
      ...{ APP_DATABASE_URL: database.appUrl, HOST: '127.0.0.1', PORT: '0' },
    });
    const running = await startServer({ environment, jobs: false, log: createLog('silent') });
    try {
      for (const probe of ['startupProbe', 'livenessProbe', 'readinessProbe']) {
        const { path, port } = server[probe].httpGet;
        expect(port).toBe(server.ports[0].name);
        expect((await fetch(`${running.url}${path}`)).status, path).toBe(200);
      }
    } finally {
      await running.close();
      await database.drop();
    }
  });
});

describe('secrets from files', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'prpm-secrets-'));
  afterAll(() => rmSync(scratch, { recursive: true, force: true }));
  const file = (name: string, content: string) => {
    writeFileSync(join(scratch, name), content);
    return join(scratch, name);
  };

  it('are read where NAME_FILE names one, without the line break at its end', () => {
    const variables = {
      APP_DATABASE_URL: 'postgres://a',
      CRON_SECRET: '',
      CRON_SECRET_FILE: file('cron', 'a-long-enough-secret\n'),
    };
    expect(withSecretFiles(variables)).toMatchObject({
      APP_DATABASE_URL: 'postgres://a',
      CRON_SECRET: 'a-long-enough-secret',
    });
    expect(withSecretFiles({ SSL_CERT_FILE: '/not/ours' })).toEqual({ SSL_CERT_FILE: '/not/ours' });
  });

  it('stop the start where they cannot be read, or where the variable is set too, and are not quoted', () => {
    expect(() => withSecretFiles({ CRON_SECRET_FILE: join(scratch, 'absent') })).toThrow(/^CRON_SECRET_FILE .*ENOENT/);
    const both = { METRICS_TOKEN: 'one', METRICS_TOKEN_FILE: file('both', 'two') };
    expect(() => withSecretFiles(both)).toThrow('METRICS_TOKEN and METRICS_TOKEN_FILE are both set. Set one of them.');
  });

  it('are mounted by deploy/compose.secrets.yml where it says that they are, for variables that the server reads', () => {
    const { services, secrets } = parse(readFileSync(join(root, 'deploy/compose.secrets.yml'), 'utf8'));
    const paths = Object.entries<string>(services.server.environment).map(([name, path]) => {
      expect(Object.keys(environmentSchema.shape)).toContain(name.replace(/_FILE$/, ''));
      return path.replace('/run/secrets/', '');
    });
    expect(services.server.secrets).toEqual(paths);
    expect(Object.keys(secrets)).toEqual(paths);
  });
});
