# qwen-coordinator in a container: built in one stage, installed as its package into the other, as a user without privileges.
#
# It needs an init as process 1 (`docker run --init`, `init: true` in compose): when a daemon is killed, what it started
# becomes a child of process 1, and the coordinator there would leave it as a zombie. The init is the runtime's and not a
# part of this image, so that there is only one.
ARG NODE_IMAGE=node:24-bookworm-slim

FROM ${NODE_IMAGE} AS builder
# From Node 22 on nothing is compiled. On Node 20 the SQLite driver's binding is, where no prebuilt one fits the platform.
RUN if node -p process.version | grep -q '^v20\.'; then \
      apt-get update \
      && apt-get install -y --no-install-recommends python3 make g++ \
      && rm -rf /var/lib/apt/lists/*; \
    fi
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
# Not `npm ci`: a lock file that was made where other platforms' optional binaries are missing fails it.
RUN npm install
COPY tsconfig.json ./
COPY deploy/build.mjs deploy/driver.mjs deploy/
COPY docs/openapi.yaml docs/openapi.yaml
# npm packs it, and it has to be wherever the package is.
COPY LICENSE ./
COPY coordinator coordinator
COPY daemon daemon
# The package brings its driver itself, but on Node 20.
RUN npm run build && npm pack \
 && npm install --global --prefix /opt/qwen-coordinator ./qwen-coordinator-*.tgz \
 && if node -p process.version | grep -q '^v20\.'; then \
      npm install --global --prefix /opt/qwen-coordinator better-sqlite3-12@npm:better-sqlite3@12.11.1; \
    fi

FROM ${NODE_IMAGE}
# Agents that come as an npm package, for example @qwen-code/qwen-code. Empty: none, only the demo agent is there.
ARG AGENT_PACKAGE=
RUN if [ -n "${AGENT_PACKAGE}" ]; then npm install --global "${AGENT_PACKAGE}"; fi
# User 1000 is the node images' own. State and sockets must be the user's alone, or the coordinator refuses to start.
RUN getent passwd 1000 >/dev/null || useradd --uid 1000 --user-group --no-create-home agent; \
    install -d -o 1000 -g 1000 -m 0700 /var/lib/qwen-coordinator /run/qwen-coordinator /home/agent \
 && install -d -o 1000 -g 1000 -m 0755 /workspaces
COPY --from=builder /opt/qwen-coordinator /opt/qwen-coordinator
RUN ln -s /opt/qwen-coordinator/bin/qwen-coordinator /opt/qwen-coordinator/bin/qwen-daemon /usr/local/bin/

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
