# The server on NVIDIA GPUs. The machine supplies the driver (NVIDIA Container Toolkit), torch the CUDA libraries.
#   docker build -f docker/server-gpu.Dockerfile -t bbmr-server:gpu .
#   docker run --rm --init --read-only --tmpfs /tmp --gpus all -p 127.0.0.1:8000:8000 bbmr-server:gpu
#
# CUDA_IMAGE can be another image of Debian or Ubuntu with Python 3.11 or newer, TORCH_BACKEND another build of torch as
# uv names it ("cu126", "cu130", ...). Together they determine which drivers and GPUs work.

ARG CUDA_IMAGE=nvidia/cuda:12.8.1-base-ubuntu24.04

FROM ${CUDA_IMAGE} AS libraries
ARG TORCH_BACKEND=cu128
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    UV_CACHE_DIR=/var/cache/uv \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PYTHON=/opt/bbmr/bin/python \
    UV_PYTHON_DOWNLOADS=never
# The distribution pins the version of Python.
# hadolint ignore=DL3008
RUN apt-get update && \
    apt-get install -y --no-install-recommends python3 python3-venv && \
    rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/uv && \
    /opt/uv/bin/python -m pip install --no-cache-dir "uv>=0.8,<1" && \
    python3 -m venv --without-pip /opt/bbmr
WORKDIR /src
COPY requirements.lock ./
RUN --mount=type=cache,target=/var/cache/uv \
    /opt/uv/bin/uv pip install ${TORCH_BACKEND:+--torch-backend "$TORCH_BACKEND"} \
      -c requirements.lock "torch>=2.6,<2.14"
COPY pyproject.toml ./
RUN --mount=type=cache,target=/var/cache/uv \
    /opt/uv/bin/uv pip install -c requirements.lock -r pyproject.toml --extra server --extra store --extra otel && \
    rm -f /opt/bbmr/.lock

FROM libraries AS program
COPY . .
RUN --mount=type=cache,target=/var/cache/uv \
    /opt/uv/bin/uv pip install --no-deps --target /opt/app . && \
    rm -f /opt/app/.lock

FROM ${CUDA_IMAGE}
ARG CUDA_IMAGE
LABEL org.opencontainers.image.title="bbmr server, GPU" \
      org.opencontainers.image.description="Reconstructs photos from bbmr containers over HTTP" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.base.name="${CUDA_IMAGE}"
# hadolint ignore=DL3008
RUN apt-get update && \
    apt-get install -y --no-install-recommends python3 && \
    rm -rf /var/lib/apt/lists/*
COPY --from=libraries /opt/bbmr /opt/bbmr
COPY --from=program /opt/app /opt/app
ENV BBMR_DEVICE=cuda \
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
HEALTHCHECK --interval=10s --timeout=5s --start-period=90s --retries=3 \
    CMD ["python", "-m", "bbmr_server.healthcheck"]
ENTRYPOINT ["bbmr-server"]
CMD ["serve"]
