# syntax=docker/dockerfile:1
# The site, in an image of its own:
#   docker build --build-arg REVISION=$(git rev-parse HEAD) --build-arg VERSION=$(git describe --tags --always) -t bambisleep .
# It runs as nobody in particular (uid 10001), on a read-only root; what it writes goes to /data (a volume) and /tmp.

ARG PYTHON=python:3.13.9-slim-bookworm

# --- Packages, and the list of them ----------------------------------------------------------------------------------
FROM ${PYTHON} AS packages
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
COPY requirements.txt ./
RUN python -m venv /opt/venv && /opt/venv/bin/pip install -r requirements.txt
# The bill of materials: every package with its version and licence, in CycloneDX's form, of what was really installed.
RUN python -m venv /opt/sbom && /opt/sbom/bin/pip install cyclonedx-bom==7.5.0 && mkdir /sbom && \
    /opt/sbom/bin/cyclonedx-py environment --output-reproducible --of JSON -o /sbom/bambisleep.cdx.json /opt/venv/bin/python

# --- The site --------------------------------------------------------------------------------------------------------
FROM ${PYTHON} AS site
ARG REVISION=""
ARG VERSION=""
LABEL org.opencontainers.image.title="bambisleep" \
      org.opencontainers.image.description="A membership site that comes with its observability finished." \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.version="${VERSION}"
# pg_dump and pg_restore for backups, which refuse a newer server than themselves; ffprobe for the library; age for
# encryption. Their versions are Debian's stable ones, with its security updates.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends age ffmpeg postgresql-client && \
    rm -rf /var/lib/apt/lists/* && \
    useradd --system --uid 10001 --user-group --no-create-home --home-dir /data bambisleep && \
    install -d -o bambisleep -g bambisleep -m 750 /data /data/library /data/backups
COPY --from=packages /opt/venv /opt/venv
COPY --from=packages /sbom /usr/share/sbom
WORKDIR /app
COPY . .
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    DEBUG=false DATA_DIR=/data STATIC_DIR=/app/static REVISION=${REVISION}
# Static files are part of the image. The key signs nothing: it is gone with this line.
RUN python -m compileall -q /app && \
    SECRET_KEY=$(python -c 'import secrets; print(secrets.token_hex(40))') ALLOWED_HOSTS=localhost HTTPS=false \
    python manage.py collectstatic --noinput --verbosity 0
USER 10001:10001
VOLUME /data
EXPOSE 3000
STOPSIGNAL SIGTERM
# Whether it lives, not whether it is ready: what is not ready yet, or drains, is not to be killed.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:3000/health/live', timeout=4)"]
CMD ["python", "manage.py", "serve", "--host", "0.0.0.0", "--port", "3000"]
