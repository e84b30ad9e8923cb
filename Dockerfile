# Two images: `server` (the default) and `database`, PostgreSQL with the scheduler beside it.

FROM postgres:15-bookworm AS database
RUN apt-get update \
  && apt-get install -y --no-install-recommends postgresql-15-cron \
  && rm -rf /var/lib/apt/lists/*
# A connection keeps up to 2 MB that it has freed: docs/operations.md, "PostgreSQL's memory".
ENV MALLOC_TOP_PAD_=1048576 MALLOC_TRIM_THRESHOLD_=2097152 MALLOC_MMAP_THRESHOLD_=16777216
CMD ["postgres", "-c", "shared_preload_libraries=pg_cron,pg_stat_statements", "-c", "cron.database_name=postgres", "-c", "cron.use_background_workers=on", "-c", "timezone=UTC"]

FROM node:24-bookworm-slim AS page
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY sandbox/process-lock.mjs ./sandbox/
COPY src ./src
COPY web ./web
RUN node web/build.ts

FROM node:24-bookworm-slim AS server
WORKDIR /app
ENV NODE_ENV=production
COPY package.json package-lock.json ./
# Neither PostgreSQL nor Node.js from npm: the images have them.
RUN npm ci --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund && npm cache clean --force
COPY LICENSE .gmrc ./
COPY db ./db
COPY src ./src
COPY --from=page /app/web/dist ./web/dist
USER node
EXPOSE 3000
# Node.js itself gets SIGTERM, not npm: a server that is asked to stop lets its runs end.
CMD ["node", "src/main.ts"]
