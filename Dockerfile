# LyreDB in a container; see docs/operating.md.
FROM python:3.11-slim AS build

WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN python -m venv /opt/lyredb \
    && /opt/lyredb/bin/pip install --no-cache-dir .

FROM python:3.11-slim

# Nobody in the container owns anything but the data.
RUN groupadd --gid 10001 lyredb \
    && useradd --uid 10001 --gid lyredb --no-create-home --shell /usr/sbin/nologin lyredb \
    && install --directory --mode=0700 --owner=lyredb --group=lyredb /data \
    && install --directory /app
COPY --from=build /opt/lyredb /opt/lyredb
COPY packaging/docker/healthy.py /opt/lyredb/healthy.py

# The operations port is where the health check asks, whatever the application's config.yaml.
ENV PATH=/opt/lyredb/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    LYREDB_STORAGE_PATH=/data \
    LYREDB_NETWORK_HOST=0.0.0.0 \
    LYREDB_OPERATIONS_API_NETWORK_PORT=9925
USER 10001:10001
WORKDIR /app
VOLUME /data
# HTTP, HTTPS, operations (health, metrics), MQTT, MQTT over TLS.
EXPOSE 9926 9943 9925 1883 8883
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["/opt/lyredb/bin/python", "-I", "-S", "/opt/lyredb/healthy.py"]
# In this form the server itself is process 1: it takes SIGTERM and reaps its children.
ENTRYPOINT ["lyredb", "run", "/app"]
