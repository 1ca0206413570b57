# The server on an NVIDIA GPU; torch and CUDA come with the base image.
#   docker build -f docker/server-gpu.Dockerfile -t bbmr-server:gpu .
#   docker run --rm --gpus all -p 127.0.0.1:8000:8000 bbmr-server:gpu

FROM pytorch/pytorch:2.7.1-cuda12.8-cudnn9-runtime AS build
ENV PIP_CACHE_DIR=/var/cache/pip \
    PIP_DISABLE_PIP_VERSION_CHECK=1
# The base image's torch is seen from the environment and satisfies the range in pyproject.toml.
RUN python3 -m venv --system-site-packages /opt/bbmr
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/var/cache/pip \
    /opt/bbmr/bin/python -m pip install -c requirements.lock '.[server]'

FROM pytorch/pytorch:2.7.1-cuda12.8-cudnn9-runtime
LABEL org.opencontainers.image.title="bbmr server, GPU" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/bbmr /opt/bbmr
ENV BBMR_DEVICE=cuda \
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
HEALTHCHECK --interval=10s --timeout=5s --start-period=90s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['BBMR_PORT'] + '/readyz', timeout=4)"]
ENTRYPOINT ["bbmr-server"]
CMD ["serve"]
