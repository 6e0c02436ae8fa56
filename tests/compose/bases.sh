#!/bin/sh
# Makes the base images of the compose where there is no registry to pull them from: from Debian, with
# debootstrap, under the official names. Images that are there already are left alone.
set -eu
cd "$(dirname "$0")/bases"
docker=${DOCKER:-docker}
export DOCKER_BUILDKIT=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

have() { $docker image inspect "$1" >/dev/null 2>&1; }

# The certificates of this machine, since its way to the package index may need them.
debian() {
    have debian:bookworm-slim && return
    debootstrap --variant=minbase --include=ca-certificates bookworm "$work/root" >"$work/log" 2>&1 ||
        { tail "$work/log" >&2; exit 1; }
    cp /etc/ssl/certs/ca-certificates.crt "$work/root/etc/ssl/certs/ca-certificates.crt"
    printf 'Dir::Cache::pkgcache "";\nDir::Cache::srcpkgcache "";\n' >"$work/root/etc/apt/apt.conf.d/docker-clean"
    rm -rf "$work"/root/var/cache/apt/* "$work"/root/var/lib/apt/lists/*
    tar -C "$work/root" -c . | $docker import --change 'CMD ["bash"]' - debian:bookworm-slim >/dev/null
}

base() {
    have "$1" && return
    echo "making $1" >&2
    $docker build --network host --quiet --tag "$1" --file "$2" "${3:-.}" >/dev/null
}

debian
base python:3.11-slim-bookworm python.Dockerfile
base nginx:1.28-bookworm nginx.Dockerfile
base prom/prometheus:v3.5.0 prometheus.Dockerfile
base grafana/grafana:12.1.0 grafana.Dockerfile
base mongo:7.0 mongo.Dockerfile
