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
ENV NODE_ENV=production
WORKDIR /vaivem
# One bundled file: no node_modules. Without the embedded servers' binaries there is no `demo`.
COPY package.json ./
COPY sql sql
COPY --from=build /vaivem/dist dist
# By number, so that an orchestrator sees that it isn't root; the official images call it node.
USER 1000:1000
ENTRYPOINT ["node", "dist/main.js"]
