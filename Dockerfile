# The controller, and with another entry point the MLflow server of docker-compose.yml. The target flows is another
# image: Prefect, and what training needs.
# Needs BuildKit (the default since Docker 23; before that DOCKER_BUILDKIT=1).
ARG PYTHON=3.11-slim-bookworm

# What pyproject.toml depends on, alone, with the drivers of databases and S3: a change to anything else in it keeps
# the layer below. With EXTRAS="storage series" the image serves networks for time series as well.
FROM python:${PYTHON} AS requirements
ARG EXTRAS=storage
COPY pyproject.toml /
RUN python -c "import os, tomllib; p = tomllib.load(open('/pyproject.toml', 'rb'))['project']; print(*p['dependencies'], *(d for e in os.environ['EXTRAS'].split() for d in p['optional-dependencies'][e]), sep='\n')" \
    > /requirements.txt

FROM python:${PYTHON} AS dependencies
RUN python -m venv /opt/venv
COPY constraints.txt /
COPY --from=requirements /requirements.txt /
# Bytecode here, since the root file system is read-only later; unchecked, so that it does not
# depend on the times of files.
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/venv/bin/pip install --no-compile --only-binary :all: -c /constraints.txt -r /requirements.txt \
    && for name in matplotlib pandas pyarrow scipy sklearn statsmodels; do \
           find /opt/venv/lib/python3*/site-packages/$name -type d -name tests -prune -exec rm -rf {} +; \
       done \
    && /opt/venv/bin/python -m compileall -qq -j 0 --invalidation-mode unchecked-hash /opt/venv/lib

FROM python:${PYTHON} AS package
WORKDIR /source
COPY pyproject.toml README.md LICENSE schema.sql type_mapping.json ./
COPY model_deployment model_deployment
RUN --mount=type=cache,target=/root/.cache/pip pip wheel --no-deps --wheel-dir /wheels .

FROM python:${PYTHON} AS flows-requirements
COPY pyproject.toml /
COPY flows/pyproject.toml /flows/
RUN python -c "import tomllib; a, b = (tomllib.load(open(n, 'rb'))['project'] for n in ('/pyproject.toml', '/flows/pyproject.toml')); o = b['optional-dependencies']; print(*a['dependencies'], *(d for d in b['dependencies'] if not d.startswith('model-deployment')), *o['series'], *o['postgresql'], sep='\n')" \
    > /requirements.txt

FROM python:${PYTHON} AS flows-dependencies
RUN python -m venv /opt/venv
COPY flows/constraints.txt /
COPY --from=flows-requirements /requirements.txt /
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/venv/bin/pip install --no-compile --only-binary :all: -c /constraints.txt -r /requirements.txt \
    && /opt/venv/bin/python -m compileall -qq -j 0 --invalidation-mode unchecked-hash /opt/venv/lib

FROM package AS flows-package
COPY flows flows
RUN --mount=type=cache,target=/root/.cache/pip pip wheel --no-deps --wheel-dir /wheels ./flows

FROM python:${PYTHON} AS base
LABEL org.opencontainers.image.title="model_deployment" \
      org.opencontainers.image.description="A process manager that serves MLflow models on one machine" \
      org.opencontainers.image.documentation="README.md" \
      org.opencontainers.image.version="0.1.0"

# Passes signals on, and reaps the processes that a killed controller left, whatever the command is.
RUN apt-get update \
    && apt-get install -y --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* /var/log/dpkg.log /var/log/apt /var/cache/ldconfig/aux-cache

# The number is fixed, since files in volumes carry it. New volumes take over the owner of these folders.
RUN groupadd --gid 10001 model-deployment \
    && useradd --uid 10001 --gid 10001 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin model-deployment \
    && install --directory --owner 10001 --group 10001 --mode 0700 /data /data/flows /data/training-data \
        /credentials /mlflow \
    && install --directory --owner 10001 --group 10001 --mode 0750 /secrets /storage-keys /prefect-key \
        /flows-auth

ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    GIT_PYTHON_REFRESH=quiet \
    MODEL_DEPLOYMENT_DATA_DIR=/data
COPY --chmod=0644 docker/storage.py /usr/local/lib/storage.py

FROM base AS flows
COPY --from=flows-dependencies /opt/venv /opt/venv
RUN --mount=type=bind,from=flows-package,source=/wheels,target=/wheels \
    /opt/venv/bin/pip install --no-cache-dir --no-index --no-deps --no-compile /wheels/*.whl \
    && /opt/venv/bin/python -m compileall -qq --invalidation-mode unchecked-hash \
       /opt/venv/lib/python3*/site-packages/model_deployment /opt/venv/lib/python3*/site-packages/model_deployment_flows
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 4200
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/tini", "--", "python", "-I", "/usr/local/lib/storage.py", "run", "prefect", "python", "-m", "model_deployment_flows", "serve"]
CMD ["--host", "0.0.0.0", "--port", "4200", "--idle-timeout", "0"]

FROM base
COPY --from=dependencies /opt/venv /opt/venv
RUN --mount=type=bind,from=package,source=/wheels,target=/wheels \
    /opt/venv/bin/pip install --no-cache-dir --no-index --no-deps --no-compile /wheels/*.whl \
    && /opt/venv/bin/python -m compileall -qq --invalidation-mode unchecked-hash \
       /opt/venv/lib/python3*/site-packages/model_deployment
COPY --chmod=0755 entrypoint.sh /usr/local/bin/entrypoint.sh

ENV SUPERVISE=true \
    MODEL_DEPLOYMENT_HOST=0.0.0.0

USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
# A proxy answers /health, with or without a controller: an unhealthy container may be killed, and its models with
# it. /ready tells how the controller is; entrypoint.sh starts one that was killed again.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-I", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('MODEL_DEPLOYMENT_PORT', '8000') + '/health', timeout=4)"]
ENTRYPOINT ["/usr/bin/tini", "--", "/usr/local/bin/entrypoint.sh"]
CMD ["serve"]
