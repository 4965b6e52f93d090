# Trains, evaluates, exports: `docker run IMAGE seqclass fit ...`; a SageMaker job starts it as `train`.
#
#   CPU    docker build -f docker/train.Dockerfile -t seqclass-train .
#   CUDA   docker build -f docker/train.Dockerfile -t seqclass-train:cuda \
#            --build-arg BASE=nvidia/cuda:12.8.1-runtime-ubuntu24.04 --build-arg TORCH_INDEX=https://pypi.org/simple .
ARG BASE=python:3.11.13-slim-bookworm
FROM ${BASE}

ARG TORCH=2.13.0
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG RUN_AS=seqclass

# The CUDA bases come without Python.
RUN command -v python3 > /dev/null \
    || (apt-get update && apt-get install --yes --no-install-recommends python3 python3-venv && rm -rf /var/lib/apt/lists/*)
RUN python3 -m venv /opt/seqclass && useradd --create-home --uid 10001 seqclass
ENV PATH=/opt/seqclass/bin:$PATH PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

# Packages first: they change less often than the library.
WORKDIR /opt/source
COPY req.txt ./
RUN pip install --index-url ${TORCH_INDEX} "torch==${TORCH}" && pip install --constraint req.txt setuptools
COPY setup.py pyproject.toml README.md ./
COPY seqclass ./seqclass
RUN pip install --constraint req.txt --no-build-isolation \
    ".[homology,hub,onnx,sweep,tracks,transformers,variants]"
COPY docker/train.py /opt/seqclass/bin/train
RUN chmod 755 /opt/seqclass/bin/train && mkdir -p /workspace && chown seqclass /workspace

USER ${RUN_AS}
WORKDIR /workspace
HEALTHCHECK --interval=5m --timeout=30s CMD ["seqclass", "--version"]
CMD ["seqclass", "--help"]
