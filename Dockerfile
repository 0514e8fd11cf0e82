# The service in a container. Nothing of it is kept: what it knows is in the databases.
#   docker build -t vaivem .
#   docker run -e DATABASE_URL -e EXTERNAL_DB_URL vaivem            the service
#   docker run -e DATABASE_URL -e EXTERNAL_DB_URL vaivem --once     any other command
ARG NODE_IMAGE=node:20-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /vaivem
COPY package.json package-lock.json ./
COPY test/support/no-ssh2 test/support/no-ssh2
# No package needs its install script here: esbuild's binary is an optional dependency of its own.
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY build.js tsconfig.json ./
COPY src src
RUN node build.js

FROM ${NODE_IMAGE}
# Health and measures are answered inside the container only; SYNC_HTTP_HOST=0.0.0.0 with a SYNC_HTTP_TOKEN opens them, and the dashboard.
ENV NODE_ENV=production SYNC_HTTP_PORT=9187
WORKDIR /vaivem
# Bundled: no node_modules. Without the embedded servers' binaries there is no `demo`.
COPY package.json ./
COPY sql sql
COPY --from=build /vaivem/dist dist
# By number, so that an orchestrator sees that it isn't root; the official images call it node.
USER 1000:1000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["node", "-e", \
  "fetch(`http://127.0.0.1:${process.env.SYNC_HTTP_PORT}/health`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "dist/main.js"]
