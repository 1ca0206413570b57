# The server on the CPU.
#   docker build -f docker/server.Dockerfile -t bbmr-server:cpu .
#   docker run --rm --init --read-only --tmpfs /tmp -p 127.0.0.1:8000:8000 bbmr-server:cpu
#
# PYTHON_IMAGE can be another image with Python 3.11 or newer, or this one with its digest:
#   --build-arg PYTHON_IMAGE=python:3.11.16-slim-bookworm@sha256:...
# EXTRA=server-light omits torch and runs only the weights `light`: --build-arg EXTRA=server-light -t bbmr-server:light
# TORCH_BACKEND names the build of torch as uv does ("cpu", "cu128", ...). If it is empty, torch comes from the
# configured package sources, such as local wheels on a machine without internet.

ARG PYTHON_IMAGE=python:3.11.16-slim-bookworm

# torch, the other libraries and the program are separate layers, the most stable first: a change of the code replaces
# only a few megabytes.
FROM ${PYTHON_IMAGE} AS libraries
ARG EXTRA=server
ARG TORCH_BACKEND=cpu
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    UV_CACHE_DIR=/var/cache/uv \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PYTHON=/opt/bbmr/bin/python \
    UV_PYTHON_DOWNLOADS=never
RUN python3 -m venv /opt/uv && \
    /opt/uv/bin/python -m pip install --no-cache-dir "uv>=0.8,<1" && \
    python3 -m venv --without-pip /opt/bbmr
WORKDIR /src
COPY requirements.lock ./
RUN --mount=type=cache,target=/var/cache/uv \
    test "$EXTRA" != server || \
    /opt/uv/bin/uv pip install ${TORCH_BACKEND:+--torch-backend "$TORCH_BACKEND"} \
      -c requirements.lock "torch>=2.6,<2.14"
COPY pyproject.toml ./
RUN --mount=type=cache,target=/var/cache/uv \
    /opt/uv/bin/uv pip install -c requirements.lock -r pyproject.toml --extra "$EXTRA" --extra store --extra otel && \
    rm -f /opt/bbmr/.lock

FROM libraries AS program
COPY . .
RUN --mount=type=cache,target=/var/cache/uv \
    /opt/uv/bin/uv pip install --no-deps --target /opt/app . && \
    rm -f /opt/app/.lock

FROM ${PYTHON_IMAGE}
ARG PYTHON_IMAGE
LABEL org.opencontainers.image.title="bbmr server, CPU" \
      org.opencontainers.image.description="Reconstructs photos from bbmr containers over HTTP" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}"
COPY --from=libraries /opt/bbmr /opt/bbmr
COPY --from=program /opt/app /opt/app
ENV BBMR_DEVICE=cpu \
    BBMR_HOST=0.0.0.0 \
    BBMR_PORT=8000 \
    HOME=/tmp \
    PATH=/opt/app/bin:/opt/bbmr/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPATH=/opt/app \
    PYTHONUNBUFFERED=1
# A new named volume on /data inherits the owner of this folder, so that the user below can write there.
RUN install -d -o 10001 -g 10001 /data
WORKDIR /tmp
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
# Healthy means ready: the weights are loaded and the engine works.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-m", "bbmr_server.healthcheck"]
ENTRYPOINT ["bbmr-server"]
CMD ["serve"]
