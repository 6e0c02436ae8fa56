#!/bin/sh
# Starts the gateway: checks what it needs, writes the few lines that depend on it, and becomes nginx.
# docs/reference/gateway.md lists the variables. SIGQUIT lets requests in flight finish, SIGTERM does not.
set -eu
umask 077

fail() {
    echo "cannot start the gateway: $1" >&2
    exit 1
}

# value NAME PATTERN MEANING: check a variable whose value goes into the configuration.
value() {
    given=
    eval "given=\$$1"
    # grep matches one line of several: the value must be one line.
    { printf '%s\n' "$given" | grep -Eqx "$2" && [ "$(printf '%s\n' "$given" | wc -l)" -eq 1 ]; } ||
        fail "$1 is '$given'; it has to be $3"
}

readable() {
    [ -f "$1" ] || fail "there is no $1; $2"
    [ -r "$1" ] || fail "$1 is not readable for user $(id -u); $2"
    [ -s "$1" ] || fail "$1 is empty; $2"
}

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
# Where Debian has nginx is in root's path only.
PATH=$PATH:/usr/local/sbin:/usr/sbin

CONTROLLER=${CONTROLLER:-controller:8000}
CREDENTIALS=${CREDENTIALS:-/credentials}
CERTIFICATES=${CERTIFICATES:-/certificates}
HTTP_PORT=${HTTP_PORT:-8080}
HTTPS_PORT=${HTTPS_PORT:-8443}
PUBLIC_HTTPS_PORT=${PUBLIC_HTTPS_PORT:-${HTTPS_PORT##*:}}
GATEWAY_RUN=${GATEWAY_RUN:-/tmp/gateway}
CONNECTIONS_PER_ADDRESS=${CONNECTIONS_PER_ADDRESS:-256}
DEVICES_PER_ADDRESS=${DEVICES_PER_ADDRESS:-5000}
HEADER_TIMEOUT=${HEADER_TIMEOUT:-10}
BODY_TIMEOUT=${BODY_TIMEOUT:-30}
AUTH_DELAY=${AUTH_DELAY:-1}
RESOLVER=${RESOLVER:-}

port='(([0-9.]+|\[[0-9A-Fa-f:]+\]):)?[0-9]{1,5}'
number='[1-9][0-9]{0,8}'
value CONTROLLER '([A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\]):[0-9]{1,5}' 'HOST:PORT'
value HTTP_PORT "$port" 'PORT or ADDRESS:PORT'
value HTTPS_PORT "$port" 'PORT or ADDRESS:PORT'
value PUBLIC_HTTPS_PORT '[0-9]{1,5}' 'a port'
value RESOLVER '[]0-9A-Fa-f.:[ ]*' 'addresses of name servers'
value CONNECTIONS_PER_ADDRESS "$number" 'a number'
value DEVICES_PER_ADDRESS "$number" 'a number'
value HEADER_TIMEOUT "$number" 'a number of seconds'
value BODY_TIMEOUT "$number" 'a number of seconds'
value AUTH_DELAY '[0-9]{1,3}' 'a number of seconds'

version=$(nginx -v 2>&1) || fail "there is no nginx; on Debian: apt-get install nginx-light"
version=$(echo "$version" | sed -n 's|.*/\([0-9]*\)\.\([0-9]*\)\.\([0-9]*\).*|\1 \2 \3|p' |
    awk '{ print $1 * 1000000 + $2 * 1000 + $3 }')
[ "${version:-0}" -ge 1022000 ] || fail "nginx 1.22 or newer is needed; this one says: $(nginx -v 2>&1)"

# -- credentials and certificates ------------------------------------------------------------------
for role in operators callers; do
    readable "$CREDENTIALS/$role.htpasswd" \
        "'model-deployment users init' makes it, and CREDENTIALS names its folder"
done

certificate=$CERTIFICATES/tls.crt key=$CERTIFICATES/tls.key tls=
if [ -e "$certificate" ] || [ -e "$key" ]; then
    pair="TLS needs both $certificate and $key"
    readable "$certificate" "$pair"
    readable "$key" "$pair"
    tls=yes
else
    echo "gateway: no certificate in $CERTIFICATES: passwords and data go over the network as plain HTTP" >&2
fi

# -- the folder for everything written ------------------------------------------------------------
{ mkdir -p "$GATEWAY_RUN" 2>/dev/null && [ -w "$GATEWAY_RUN" ]; } ||
    fail "user $(id -u) cannot write to $GATEWAY_RUN; set GATEWAY_RUN to a folder of its own"
# The owner of the folder could change the configuration.
[ -O "$GATEWAY_RUN" ] || fail "$GATEWAY_RUN belongs to another user; set GATEWAY_RUN to a folder of its own"
run=$(CDPATH='' cd -- "$GATEWAY_RUN" && pwd -P)
for file in "$here"/*.conf; do
    ln -sf "$file" "$run/"
done
# -n: replace the link of an earlier start instead of following it.
ln -sfn "$(CDPATH='' cd -- "$CREDENTIALS" && pwd)" "$run/credentials"
[ -z "$tls" ] || ln -sfn "$(CDPATH='' cd -- "$CERTIFICATES" && pwd)" "$run/certificates"

# -- main, events ----------------------------------------------------------------------------------
if [ "$(id -u)" -eq 0 ]; then
    echo "gateway: runs as root; a user of its own that may read the credentials is safer" >&2
    echo "user root root;"
fi > "$run/run-main.conf"

# Not in POSIX, but in dash, busybox and bash.
# shellcheck disable=SC3045
files=$(ulimit -Hn)
case $files in
    unlimited) files=65536 ;;
    *) [ "$files" -le 65536 ] || files=65536 ;;
esac
# shellcheck disable=SC3045
ulimit -n "$files"
# A proxied request takes two connections and, while a body or an answer is on the disk, two files.
connections=$((files / 2))
[ "$connections" -le 16384 ] || connections=16384
echo "worker_connections $connections;" > "$run/run-events.conf"

# -- the controller --------------------------------------------------------------------------------
# The controller's address may change when its container is recreated, and nginx looks a name up once, at the
# start. From 1.27.3 an upstream can follow a name. Before, nginx looks up again only a name in a variable, and
# opens a new connection for each request; an address or a name of the hosts file keeps its connections.
host=${CONTROLLER%:*}
name_servers() {
    [ -z "$RESOLVER" ] || { echo "$RESOLVER"; return; }
    sed -n 's/^[[:space:]]*nameserver[[:space:]]\{1,\}\([^[:space:]%]\{1,\}\)[[:space:]]*$/\1/p' \
        /etc/resolv.conf 2>/dev/null | sed 's/.*:.*/[&]/' | tr '\n' ' '
}
# One address of a name, IPv4 first: nginx would use all in turn, and the controller listens on one.
in_hosts_file() {
    awk -v host="$host" '{ sub(/#.*/, "") }
        { for (i = 2; i <= NF; i++) if ($i == host) { if ($1 !~ /:/) four = four ? four : $1; else six = $1 } }
        END { if (four) print four; else if (six) print "[" six "]" }' /etc/hosts 2>/dev/null || :
}
upstream() {
    echo "map '' \$controller { default controller; }"
    echo "upstream controller {"
    echo "    $1"
    # The controller keeps an idle connection for 75 s: nginx has to close it first.
    echo "    keepalive 64; keepalive_timeout 30s; keepalive_requests 100000;"
    echo "}"
}
controller() {
    if printf '%s\n' "$host" | grep -Eqx '[0-9.]+|\[.*\]'; then
        address=$host
    else
        address=$(in_hosts_file)
    fi
    if [ -n "$address" ]; then
        upstream "server $address:${CONTROLLER##*:} max_fails=0;"
        return
    fi
    servers=$(name_servers)
    [ -n "$servers" ] || fail "no name server in /etc/resolv.conf to look up $host; give CONTROLLER as an address"
    echo "resolver $servers valid=2s ipv6=off; resolver_timeout 5s;"
    if [ "$version" -ge 1027003 ]; then
        upstream "zone controller 64k; server $CONTROLLER resolve max_fails=0;"
    else
        echo "map '' \$controller { default $CONTROLLER; }"
    fi
}

# -- where the access log goes ---------------------------------------------------------------------
# nginx opens the log by name, which fails for a socket (systemd's) and for a file of another user; then the log
# goes through a named pipe. nginx inherits descriptor 3, so that the pipe lasts as long as nginx does.
log=/dev/stdout
if ! ( : >> /dev/stdout ) 2>/dev/null; then
    log=access.pipe
    rm -f "$run/$log"
    mkfifo "$run/$log"
    exec 3<> "$run/$log"
    cat < "$run/$log" 3>&- &
fi

{
    controller
    echo "access_log $log json;"
    echo "limit_conn addresses $CONNECTIONS_PER_ADDRESS;"
    echo "client_header_timeout ${HEADER_TIMEOUT}s;"
    echo "client_body_timeout ${BODY_TIMEOUT}s;"
    # Checking a wrong password costs as much as a right one. The answer to a wrong one is delayed and counts
    # as a connection of its address meanwhile, so that guesses cannot keep the workers busy.
    echo "auth_delay ${AUTH_DELAY}s;"
} > "$run/run-http.conf"

echo "limit_conn sockets $DEVICES_PER_ADDRESS;" > "$run/run-sockets.conf"

# -- where it listens ------------------------------------------------------------------------------
# listen PORT OPTIONS: on every address, or on the address given with the port.
listen() {
    echo "    listen $1 $2 default_server backlog=1024;"
    case $1 in *:*) return ;; esac
    [ -z "$(cat /proc/net/if_inet6 2>/dev/null)" ] ||
        echo "    listen [::]:$1 $2 default_server ipv6only=on backlog=1024;"
}
{
    if [ -z "$tls" ]; then
        echo "server {"
        listen "$HTTP_PORT" ""
        echo "    include gateway.conf;"
        echo "}"
    else
        echo "server {"
        if [ "$version" -ge 1025001 ]; then
            listen "$HTTPS_PORT" "ssl"
            echo "    http2 on;"
        else
            listen "$HTTPS_PORT" "ssl http2"
        fi
        echo "    include tls.conf;"
        echo "    include gateway.conf;"
        echo "}"
        echo "server {"
        listen "$HTTP_PORT" ""
        public=:$PUBLIC_HTTPS_PORT
        [ "$public" != :443 ] || public=
        echo "    set \$public_port '$public';"
        echo "    include redirect.conf;"
        echo "}"
    fi
} > "$run/run-servers.conf"

exec nginx -e stderr -p "$run" -c "$run/nginx.conf"
