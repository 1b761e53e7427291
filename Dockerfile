# The gateway, its engines and its dashboard. Build with ./build_docker.sh, run with ./run_docker.sh
# or plainly: docker run --gpus all -p 8000:8000 -v /srv/models:/models IMAGE
#
# CUDA_STACK=12  vLLM 0.19.1, torch 2.10, Ubuntu 22.04's Python 3.10; any driver for CUDA 12.4 or newer
# CUDA_STACK=13  vLLM 0.32.0, torch 2.13, Ubuntu 24.04's Python 3.12; driver 580 or newer
#
# What the steps do lies in tools/setup, and `make` runs the same scripts. Heavy layers come first and
# see only the files they need: a change of code rebuilds none of them. No step needs BuildKit.

ARG NODE_VERSION=20
ARG CUDA_STACK=12
ARG CUDA12_IMAGE=nvidia/cuda:12.4.1-cudnn-devel-ubuntu22.04
ARG CUDA13_IMAGE=nvidia/cuda:13.0.2-cudnn-devel-ubuntu24.04

FROM node:${NODE_VERSION}-bookworm-slim AS frontend
WORKDIR /build
COPY tools/setup/frontend tools/setup/
COPY frontend/package.json frontend/package-lock.json frontend/
RUN tools/setup/frontend packages
COPY frontend frontend
RUN tools/setup/frontend build

FROM ${CUDA12_IMAGE} AS cuda12
FROM ${CUDA13_IMAGE} AS cuda13

# hadolint ignore=DL3006
FROM cuda${CUDA_STACK} AS gateway
ARG CUDA_STACK
WORKDIR /app

# apt-utils first, or debconf complains about each of the others. vLLM compiles kernels when it
# starts, for which Triton wants a C compiler and Python's headers.
COPY tools/setup/system tools/setup/
RUN tools/setup/system apt-utils \
 && tools/setup/system ca-certificates curl gcc g++ libc6-dev python3 python3-dev python3-venv tini \
 && rm -rf /var/lib/apt/lists/*

COPY tools/setup/venv tools/setup/
COPY requirements/uv.txt requirements/cuda${CUDA_STACK}.txt requirements/
RUN PIP_NO_CACHE_DIR=1 UV_NO_CACHE=1 \
    tools/setup/venv /opt/venv requirements/cuda${CUDA_STACK}.txt

# What engines compile lies beside the models, so that the next start need not compile it again.
# Docker kills ten seconds after `docker stop`: the drain and then the engines' end fit that, and
# whoever gives the container longer (run_docker.sh, compose.yaml) sets both.
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/home/gateway \
    USER=gateway \
    API_HOST=0.0.0.0 \
    API_PORT=8000 \
    MODEL_SET=real \
    MODEL_CACHE_DIR=/models \
    FRONTEND_DIST=/app/frontend \
    DRAIN_S=4 \
    ENGINE_TERM_S=4 \
    XDG_CACHE_HOME=/models/.cache \
    VLLM_CACHE_ROOT=/models/.cache/vllm \
    TORCHINDUCTOR_CACHE_DIR=/models/.cache/torchinductor \
    TRITON_CACHE_DIR=/models/.cache/triton \
    FLASHINFER_WORKSPACE_BASE=/models \
    CUDA_CACHE_PATH=/models/.cache/cuda \
    NUMBA_CACHE_DIR=/models/.cache/numba \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

COPY demo/models demo/models
COPY deploy/healthcheck deploy/
COPY backend backend
COPY --from=frontend /build/frontend/dist frontend
# Whatever user it runs as (`--user`): a home, logs and a volume for models that can be written to.
# A directory that is mounted keeps its owner; the gateway says so when that cannot work.
RUN python -m compileall -q backend/app \
 && chmod -R a+rX . \
 && install -d -m 1777 /models /home/gateway /var/log/servertestllm

# Numeric, so that Kubernetes can tell that it is not root.
USER 1000:1000
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=6s --start-period=30s --retries=3 CMD ["/app/deploy/healthcheck"]
# tini collects orphans; -s because it may itself run below another init (`docker run --init`).
ENTRYPOINT ["tini", "-s", "--", "python", "-m", "backend.app"]
CMD ["serve"]

ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="servertestllm" \
      org.opencontainers.image.description="A private, OpenAI-compatible inference gateway for one GPU machine" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      servertestllm.cuda-stack="${CUDA_STACK}"
