# The command line client: bbmr's base install, without torch and without a web framework.
#   docker build -f docker/client.Dockerfile -t bbmr-client:latest .
#   docker run --rm -v "$PWD:/out" --user "$(id -u):$(id -g)" bbmr-client:latest encode /out/photo.jpg -o /out/photo.bbmr

FROM python:3.11-slim AS build
ENV PIP_CACHE_DIR=/var/cache/pip \
    PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -m venv /opt/bbmr
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/var/cache/pip \
    /opt/bbmr/bin/python -m pip install -c requirements.lock .

FROM python:3.11-slim
LABEL org.opencontainers.image.title="bbmr client" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/bbmr /opt/bbmr
ENV HOME=/tmp \
    PATH=/opt/bbmr/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# A new named volume on /out takes over this folder's owner, so that the user below can write there.
RUN install -d -o 10001 -g 10001 /out
WORKDIR /out
USER 10001:10001
ENTRYPOINT ["bbmr-client"]
CMD ["--help"]
# The container runs one command and ends; there is nothing to watch.
HEALTHCHECK NONE
