# qwen-coordinator in a container: built with a compiler, run without one, as a user without privileges.
#
# It needs an init as process 1 (`docker run --init`, `init: true` in compose): when a daemon is killed, what it started
# becomes a child of process 1, and the coordinator there would leave it as a zombie. The init is the runtime's and not a
# part of this image, so that there is only one.
ARG NODE_IMAGE=node:20-bookworm-slim

FROM ${NODE_IMAGE} AS builder
# better-sqlite3-12, for Node 20, is installed on every Node: its install script downloads a binding, or compiles one where no
# prebuilt one fits the platform. On Node 22 and newer it is never loaded: there better-sqlite3 uses the one in its package.
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 make g++ \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/qwen-coordinator
COPY package.json package-lock.json .npmrc ./
# Not `npm ci`: a lock file that was made where other platforms' optional binaries are missing fails it.
RUN npm install
COPY tsconfig.json ./
COPY deploy/build.mjs deploy/build.mjs
COPY docs/openapi.yaml docs/openapi.yaml
COPY coordinator coordinator
COPY daemon daemon
RUN npm run build && npm prune --omit=dev

FROM ${NODE_IMAGE}
# Agents that come as an npm package, for example @qwen-code/qwen-code. Empty: none, only the demo agent is there.
ARG AGENT_PACKAGE=
RUN if [ -n "${AGENT_PACKAGE}" ]; then npm install --global "${AGENT_PACKAGE}"; fi
# User 1000 is the node images' own. State and sockets must be the user's alone, or the coordinator refuses to start.
RUN getent passwd 1000 >/dev/null || useradd --uid 1000 --user-group --no-create-home agent; \
    install -d -o 1000 -g 1000 -m 0700 /var/lib/qwen-coordinator /run/qwen-coordinator /home/agent \
 && install -d -o 1000 -g 1000 -m 0755 /workspaces
WORKDIR /opt/qwen-coordinator
COPY --from=builder /opt/qwen-coordinator/package.json ./
COPY --from=builder /opt/qwen-coordinator/node_modules node_modules
COPY --from=builder /opt/qwen-coordinator/dist dist
RUN ln -s /opt/qwen-coordinator/dist/coordinator/main.js /usr/local/bin/qwen-coordinator \
 && ln -s /opt/qwen-coordinator/dist/daemon/main.js /usr/local/bin/qwen-daemon

# An address that other machines can reach: without QWEN_COORDINATOR_TOKEN the start is refused.
ENV HOME=/home/agent \
    XDG_RUNTIME_DIR=/run/qwen-coordinator \
    QWEN_COORDINATOR_HOST=0.0.0.0 \
    QWEN_COORDINATOR_STATE_DIR=/var/lib/qwen-coordinator \
    QWEN_COORDINATOR_ROOT=/workspaces
USER 1000:1000
EXPOSE 4170
VOLUME ["/var/lib/qwen-coordinator"]
# Over the admin socket, which answers while the listener is full and needs no token.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["qwen-coordinator", "status"]
ENTRYPOINT ["qwen-coordinator"]
CMD ["start"]
