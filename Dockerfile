# docker build -t yolor-mtl .
# docker run --rm -p 8000:8000 yolor-mtl                                  # the shipped weights: drawn scenes only
# docker run --rm -p 8000:8000 -v "$PWD/runs:/runs:ro" yolor-mtl model=/runs/mine
FROM python:3.11-slim

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1

# The build for CPUs: the usual one brings gigabytes for GPUs.
RUN pip install --index-url https://download.pytorch.org/whl/cpu torch torchvision

WORKDIR /opt/yolor-mtl
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip install '.[serve]' && useradd --create-home --uid 10001 server

USER server
WORKDIR /home/server
EXPOSE 8000
HEALTHCHECK --start-period=60s CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/healthz', timeout=5)"]
# As a list, so that the server itself gets the signal that ends it, and answers what it has.
ENTRYPOINT ["yolor-mtl", "serve", "host=0.0.0.0"]
CMD ["model=scenes-nano"]
