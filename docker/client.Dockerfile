# The command line client with the extra `local`, without torch and without a web framework.
#   docker build -f docker/client.Dockerfile -t bbmr-client:latest .
#   docker run --rm -v "$PWD:/out" --user "$(id -u):$(id -g)" bbmr-client:latest encode /out/photo.jpg -o /out/photo.bbmr
#
# PYTHON_IMAGE can be another image with Python 3.11 or newer, or this one with its digest:
#   --build-arg PYTHON_IMAGE=python:3.11.16-slim-bookworm@sha256:...

ARG PYTHON_IMAGE=python:3.11.16-slim-bookworm

# Libraries and program are separate layers: a change of the code replaces only a few megabytes.
FROM ${PYTHON_IMAGE} AS libraries
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
COPY pyproject.toml requirements.lock ./
RUN --mount=type=cache,target=/var/cache/uv \
    /opt/uv/bin/uv pip install -c requirements.lock -r pyproject.toml --extra local && \
    rm -f /opt/bbmr/.lock

FROM libraries AS program
COPY . .
RUN --mount=type=cache,target=/var/cache/uv \
    /opt/uv/bin/uv pip install --no-deps --target /opt/app . && \
    rm -f /opt/app/.lock

FROM ${PYTHON_IMAGE}
ARG PYTHON_IMAGE
LABEL org.opencontainers.image.title="bbmr client" \
      org.opencontainers.image.description="Encodes photos into bbmr containers, and asks a server for them back" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}"
COPY --from=libraries /opt/bbmr /opt/bbmr
COPY --from=program /opt/app /opt/app
ENV HOME=/tmp \
    PATH=/opt/app/bin:/opt/bbmr/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPATH=/opt/app \
    PYTHONUNBUFFERED=1
# A new named volume on /out inherits the owner of this folder, so that the user below can write there.
RUN install -d -o 10001 -g 10001 /out
WORKDIR /out
USER 10001:10001
ENTRYPOINT ["bbmr-client"]
CMD ["--help"]
# The container runs one command and exits, so there is nothing to check.
HEALTHCHECK NONE
