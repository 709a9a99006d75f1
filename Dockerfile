# Three images of one file:
#   docker build --target gateway -t mlx-gateway .   # before engines that are elsewhere; 75 MB of packages, no torch
#   docker build --target full    -t mlx-full .      # every stage, and engines in process
#   docker build --target mlflow  -t mlx-mlflow .    # the server that `train.track: [{type: mlflow}]` writes to
# Images are named by version; for a production of your own add the digest that `docker buildx imagetools inspect` shows.
FROM python:3.13.9-slim-trixie AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PATH=/opt/venv/bin:$PATH
RUN groupadd --gid 10001 mlx \
    && useradd --uid 10001 --gid mlx --no-create-home --home-dir /srv/mlx --shell /usr/sbin/nologin mlx \
    && install -d -o mlx -g mlx /srv/mlx \
    && install -d -m 0700 -o mlx -g mlx /srv/mlx/keys \
    && install -d -m 2775 -o mlx -g mlx /srv/mlx/data /srv/mlx/log /srv/mlx/checkpoint

FROM base AS build
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never VIRTUAL_ENV=/opt/venv
RUN pip install --no-cache-dir uv==0.13.8 && uv venv /opt/venv
WORKDIR /build

FROM build AS build-gateway
# the lock's hashes are checked for whatever is taken from it
COPY requirements.lock deploy/gateway.txt ./
RUN uv pip install --no-cache --verify-hashes --constraint requirements.lock --requirements gateway.txt
COPY pyproject.toml README.md ./
COPY config config
COPY src src
RUN uv pip install --no-cache --no-deps .

FROM build AS build-full
COPY requirements.lock ./
RUN uv pip install --no-cache --require-hashes --requirements requirements.lock
COPY pyproject.toml README.md ./
COPY config config
COPY src src
RUN uv pip install --no-cache --no-deps .

FROM build AS build-mlflow
RUN uv pip install --no-cache mlflow==3.17.2

FROM base AS mlflow
COPY --from=build-mlflow /opt/venv /opt/venv
WORKDIR /srv/mlx
USER 10001:10001
EXPOSE 5000
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:5000/health', timeout=4)"]
CMD ["mlflow", "server", "--host", "0.0.0.0", "--port", "5000", "--backend-store-uri", "sqlite:////srv/mlx/data/mlflow.db", "--artifacts-destination", "/srv/mlx/data/artifacts"]

FROM base AS full
COPY --from=build-full /opt/venv /opt/venv
WORKDIR /srv/mlx
COPY config config
USER 10001:10001
ENTRYPOINT ["mlx"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=300s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health/live', timeout=4)"]
CMD ["--help"]

# last, so that a plain `docker build .` makes it
FROM base AS gateway
COPY --from=build-gateway /opt/venv /opt/venv
WORKDIR /srv/mlx
COPY config config
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health/live', timeout=2)"]
ENTRYPOINT ["mlx"]
CMD ["serve", "config/gateway.yaml"]
