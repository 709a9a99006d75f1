#!/usr/bin/env bash
# Serve a project on this machine without containers: makes missing secrets, starts Redis where the config counts in it.
#   bash_script/serve.sh config/router.yaml serve.port=8080
set -euo pipefail
cd "$(dirname "$0")/.."
config=${1:-config/gateway.yaml}
shift || true

bash_script/secrets
set -a && . ./.env && set +a
if grep -qE '^[^#]*type: *redis' "$config" && [ -z "${REDIS_URL:-}" ]; then
    command -v redis-server >/dev/null || { echo "$config counts in Redis: apt-get install redis-server, or set REDIS_URL" >&2; exit 2; }
    port=${REDIS_PORT:-6379}
    mkdir -p -m 700 data/redis
    # its settings by a pipe, so that the password is in no list of processes; a session of its own, so that Ctrl-C leaves it to the last
    setsid redis-server - > data/redis/log < <(printf 'port %s\nbind 127.0.0.1\nrequirepass %s\ndir data/redis\nappendonly yes\n' "$port" "$REDIS_PASSWORD") &
    redis=$!
    trap 'kill $redis 2>/dev/null || true' EXIT
    sleep 0.5
    kill -0 $redis 2>/dev/null || { tail -3 data/redis/log >&2; exit 2; }
    export REDIS_URL=redis://:$REDIS_PASSWORD@127.0.0.1:$port/0
fi
uv run mlx serve "$config" "$@"
