# As the official image has it: python and pip in /usr/local.
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb \
    && cp /usr/bin/python3.11 /usr/local/bin/python3.11 \
    && rm -rf /usr/local/lib/python3.11 && ln -s /usr/lib/python3.11 /usr/local/lib/python3.11 \
    && ln -s python3.11 /usr/local/bin/python3 && ln -s python3.11 /usr/local/bin/python \
    && printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\ndisable-pip-version-check = true\n' > /etc/pip.conf \
    && python -m venv /usr/local/pip && ln -s /usr/local/pip/bin/pip /usr/local/bin/pip
CMD ["python3"]
