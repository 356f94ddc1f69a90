# One image for every part of Playhead: `playhead worker`, `playhead api`, `playhead db upgrade`.
ARG PYTHON_VERSION=3.13

# The page: built once, for every architecture.
FROM --platform=$BUILDPLATFORM node:22-slim AS page
WORKDIR /src/web
COPY web/package.json web/package-lock.json web/.npmrc ./
RUN npm ci
COPY web ./
RUN npm run build


FROM python:${PYTHON_VERSION}-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src

# What Playhead runs on changes seldom, so it is a layer of its own. Nothing is installed whose hash is not locked.
COPY requirements.lock ./
RUN python -m venv /opt/playhead && /opt/playhead/bin/pip install --require-hashes -r requirements.lock

# The build backend comes from the same locks, so that building fetches nothing else.
COPY requirements-dev.lock ./
RUN awk '/^[^ #]/ { wanted = /^setuptools==/ } wanted' requirements-dev.lock > build.lock \
    && python -m venv /opt/build && /opt/build/bin/pip install --require-hashes -r build.lock

COPY . .
COPY --from=page /src/api/page/built api/page/built
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /dist ./clients/python . \
    && /opt/playhead/bin/pip install --no-deps /dist/*.whl \
    && /opt/playhead/bin/pip check


FROM python:${PYTHON_VERSION}-slim
LABEL org.opencontainers.image.title="Playhead" org.opencontainers.image.licenses="MIT"
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/playhead playhead
COPY --from=build /opt/playhead /opt/playhead
ENV PATH=/opt/playhead/bin:$PATH PYTHONUNBUFFERED=1 PLAYHEAD_API_PORT=8080
WORKDIR /var/lib/playhead
USER playhead
EXPOSE 8080

# For the api; the other parts serve no HTTP and switch this off (docker-compose.yml).
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['PLAYHEAD_API_PORT'] + '/healthz', timeout=4)"]

ENTRYPOINT ["playhead"]
CMD ["--help"]
