# The image: `make image`, with all extras. Runs as user 10001 and writes to /state only; routes are mounted.
#   docker run -p 127.0.0.1:8080:8080 -e PENSTOCK_API_KEY -v "$PWD/routes:/routes:ro" penstock
FROM python:3.11-slim AS build
WORKDIR /src
RUN python -m venv /opt/penstock
COPY requirements-all.lock .
RUN /opt/penstock/bin/pip install --no-cache-dir --require-hashes -r requirements-all.lock
COPY pyproject.toml README.md LICENSE ./
COPY engine engine
COPY routes routes
COPY transforms transforms
COPY tests/fixtures/demo tests/fixtures/demo
RUN /opt/penstock/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
    && /opt/penstock/bin/penstock list presets

FROM python:3.11-slim
COPY --from=build /opt/penstock /opt/penstock
COPY deploy/penstock.yaml /etc/penstock/penstock.yaml
RUN install -d -o 10001 -g 10001 /state && install -d /routes
ENV PATH=/opt/penstock/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PENSTOCK_HOST=0.0.0.0 \
    PENSTOCK_ROUTES=/routes \
    STATE_DIRECTORY=/state
USER 10001:10001
EXPOSE 8080
VOLUME /state
HEALTHCHECK --interval=30s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/healthz', timeout=2)"]
ENTRYPOINT ["penstock"]
CMD ["serve", "--config", "/etc/penstock/penstock.yaml"]
