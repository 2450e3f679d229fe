# The image of every process of saga: API, workers, migrations, the four services. `compose.yaml` builds and runs it.
#
# First stage: the wheel from the sources, and a virtual environment of what requirements/run.txt locks, each file by its hash.
# Second stage: that environment and nothing else: no compiler, no sources, no lock, no root.
FROM python:3.13-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src

COPY requirements/run.txt requirements/build.txt requirements/
RUN python -m venv /opt/saga && /opt/saga/bin/pip install --no-deps --require-hashes -r requirements/run.txt
RUN pip install --no-deps --require-hashes -r requirements/build.txt

COPY pyproject.toml README.md LICENSE ./
COPY saga saga
COPY services services
COPY migrations migrations
RUN hatchling build -t wheel && /opt/saga/bin/pip install --no-deps --no-index dist/*.whl && /opt/saga/bin/pip check

FROM python:3.13-slim
ENV PATH=/opt/saga/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 SAGA_HOME=/data
# A volume that is mounted on /data for the first time takes over its owner.
RUN groupadd --gid 10001 saga \
    && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin saga \
    && install -d -o saga -g saga /data
COPY --from=build /opt/saga /opt/saga
WORKDIR /data
USER 10001:10001
ENTRYPOINT ["saga"]
CMD ["--help"]
