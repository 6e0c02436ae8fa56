# Not Grafana: it cannot be had from Debian. A stand-in that answers the health check, so that the compose can be
# started as a whole; it refuses what Grafana would need and does not have.
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends busybox \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb \
    && ln -s busybox /usr/bin/wget \
    && groupadd --gid 472 grafana && useradd --uid 472 --gid 0 --home-dir /usr/share/grafana grafana \
    && install -d -o grafana -g root -m 0775 /var/lib/grafana
COPY --chmod=0755 grafana.sh /run.sh
USER grafana
EXPOSE 3000
ENTRYPOINT ["/run.sh"]
