# The server on the CPU.
#   docker build -f docker/server.Dockerfile -t bbmr-server:cpu .
#   docker run --rm -p 127.0.0.1:8000:8000 bbmr-server:cpu
#
# TORCH_BACKEND names the build of torch as uv does ("cpu", "cu128", ...). Empty: plain pip with whatever
# pip is configured for, which is the way on a machine that has its own wheels and no internet.

FROM python:3.11-slim AS build
ARG TORCH_BACKEND=cpu
ENV PIP_CACHE_DIR=/var/cache/pip \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    UV_CACHE_DIR=/var/cache/uv \
    UV_LINK_MODE=copy
RUN python3 -m venv /opt/bbmr
WORKDIR /src
# torch first, in a layer of its own: it is most of the image and changes least.
COPY requirements.lock ./
RUN --mount=type=cache,target=/var/cache/pip --mount=type=cache,target=/var/cache/uv \
    python3 -m venv /opt/uv && \
    if [ -n "$TORCH_BACKEND" ]; then \
      /opt/uv/bin/python -m pip install "uv>=0.8,<1" && \
      /opt/uv/bin/uv pip install --python /opt/bbmr/bin/python --torch-backend "$TORCH_BACKEND" \
        -c requirements.lock "torch>=2.6,<2.14"; \
    else \
      /opt/bbmr/bin/python -m pip install -c requirements.lock "torch>=2.6,<2.14"; \
    fi
COPY . .
RUN --mount=type=cache,target=/var/cache/pip \
    /opt/bbmr/bin/python -m pip install -c requirements.lock '.[server]'

FROM python:3.11-slim
LABEL org.opencontainers.image.title="bbmr server, CPU" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/bbmr /opt/bbmr
ENV BBMR_DEVICE=cpu \
    BBMR_HOST=0.0.0.0 \
    BBMR_PORT=8000 \
    HOME=/tmp \
    PATH=/opt/bbmr/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /tmp
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
# Ready means: the weights are loaded and the engine answers.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['BBMR_PORT'] + '/readyz', timeout=4)"]
ENTRYPOINT ["bbmr-server"]
CMD ["serve"]
