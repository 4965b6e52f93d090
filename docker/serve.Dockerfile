# Answers over HTTP: `docker run -p 8080:8080 -v BUNDLE:/opt/ml/model:ro IMAGE`; SageMaker starts it as `serve`.
#
#   CPU    docker build -f docker/serve.Dockerfile -t seqclass-serve .
#   CUDA   docker build -f docker/serve.Dockerfile -t seqclass-serve:cuda \
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
RUN pip install --constraint req.txt --no-build-isolation ".[onnx,serve,transformers]"

USER ${RUN_AS}
WORKDIR /home/seqclass
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/ping', timeout=4)"]
ENTRYPOINT ["seqclass"]
CMD ["serve"]
