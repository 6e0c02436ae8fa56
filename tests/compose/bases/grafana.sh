#!/bin/sh
# What the stand-in checks: a password, the provisioning files, and a folder it may write to.
set -eu
[ -n "${GF_SECURITY_ADMIN_PASSWORD-}" ] || { echo "no admin password" >&2; exit 1; }
for folder in datasources dashboards; do
    ls /etc/grafana/provisioning/$folder/*.yml >/dev/null
done
touch /var/lib/grafana/grafana.db
mkdir -p /tmp/www/api
echo '{"database": "ok"}' >/tmp/www/api/health
exec busybox httpd -f -p 3000 -h /tmp/www
