# syntax=docker/dockerfile:1
# One image for every long-running part: coordinator, relay, participants, migrations. The command chooses.
#
#   docker build -t amends .
#   docker run --rm amends --help

ARG PYTHON=3.13

# Build where pip is; ship only the finished environment.
FROM python:${PYTHON}-slim-bookworm AS build
WORKDIR /src
RUN python -m venv --without-pip /opt/amends
COPY pyproject.toml README.md LICENSE ./
COPY db/ db/
COPY outbox/ outbox/
COPY participants/ participants/
COPY coordinator/ coordinator/
COPY demo/ demo/
COPY dev/ dev/
COPY testing/ testing/
RUN pip --python /opt/amends/bin/python install --no-cache-dir --disable-pip-version-check ".[coordinator]"

FROM python:${PYTHON}-slim-bookworm
LABEL org.opencontainers.image.title="amends" \
      org.opencontainers.image.description="A saga coordinator with a transactional outbox" \
      org.opencontainers.image.licenses="Apache-2.0"
# A numeric user, so that Kubernetes' runAsNonRoot can check it. It owns nothing: the image can run read-only.
RUN groupadd --gid 10001 amends && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin amends
COPY --from=build /opt/amends /opt/amends
ENV PATH=/opt/amends/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /
STOPSIGNAL SIGTERM
# The coordinator's; a participant or relay says in its own deployment where its health is to be seen.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as http; http.urlopen('http://127.0.0.1:' + os.environ.get('AMENDS_HTTP_PORT', '8080') + '/healthz', timeout=3)"]
ENTRYPOINT ["amends"]
CMD ["coordinator"]
