#!/bin/sh
# Starts the controller: looks at the environment first, and says plainly what is wrong with it.
# In the container and without one alike; model-deployment must be in PATH. With SUPERVISE=true it stays, and
# starts a controller that was killed again: for a container, which ends with its first process.
set -eu

fail() {
    printf 'error: %s\n' "$1" >&2
    exit 1
}

# Also removes what would make a path or URL go wrong silently: a file often ends with a newline.
from_file() {
    [ -r "$2" ] || fail "cannot read $2, which $1 names: it must exist and be readable by uid $(id -u)"
    content=$(tr -d '\r\n' <"$2")
    [ -n "$content" ] || fail "cannot use $2, which $1 names: it is empty"
    printf '%s' "$content"
}

check_folder() {
    (umask 077 && mkdir -p "$data" 2>/dev/null) ||
        fail "cannot make the data directory $data as uid $(id -u): set MODEL_DEPLOYMENT_DATA_DIR to another folder"
    if [ ! -w "$data" ] || [ ! -x "$data" ]; then
        fail "cannot write to the data directory $data as uid $(id -u): make it that user's own (chown -R $(id -u) $data)"
    fi
}

# A URL may hold a password, so messages never repeat one.
check_addresses() {
    case ${MODEL_DEPLOYMENT_DOCUMENTS_URL-} in
    '' | mongodb://?* | mongodb+srv://?*) ;;
    *) fail "cannot use MODEL_DEPLOYMENT_DOCUMENTS_URL: write mongodb://HOST:PORT/DATABASE, or leave it empty for a file in the data directory" ;;
    esac
    for name in MLFLOW_TRACKING_URI MLFLOW_REGISTRY_URI; do
        eval "uri=\${$name-}"
        # shellcheck disable=SC2154 # eval has set it
        case $uri in
        *[[:space:]]*) fail "cannot use $name: there is white space in it" ;;
        '' | ?*://?* | file:?* | /* | ./* | databricks*) ;;
        *) fail "cannot use $name: write it with its scheme, like http://HOST:5000 or sqlite:////PATH/mlflow.db" ;;
        esac
    done
}

check_credentials() {
    case ${MODEL_DEPLOYMENT_HOST-127.0.0.1} in
    127.* | ::1 | localhost) return ;;
    esac
    credentials=${MODEL_DEPLOYMENT_CREDENTIALS_DIR:-$data/credentials}
    [ -r "$credentials/operators.htpasswd" ] ||
        fail "cannot listen on '$MODEL_DEPLOYMENT_HOST' without passwords: there is no $credentials/operators.htpasswd that uid $(id -u) may read. Add users with: docker compose run --rm controller users init (without Docker: model-deployment users init)"
}

# Tell the controller to stop; told twice, it hurries.
stop() {
    stopping=true
    interrupted=true
    [ -z "$controller" ] || kill -TERM "$controller" 2>/dev/null || true
}

# Keep a controller alive, and end when it does. A controller that is killed leaves models and proxies behind,
# which go on, and the next controller takes them over. Any other end is its own decision: it has tidied up, or
# said why it cannot start.
supervise() {
    controller='' stopping=''
    trap stop TERM INT HUP
    while :; do
        # A session of its own: Ctrl-C on a terminal reaches it once, from here.
        setsid model-deployment "$@" &
        controller=$!
        [ -z "$stopping" ] || stop
        interrupted=true
        while [ -n "$interrupted" ]; do
            interrupted=''
            # Reaps everything that ends meanwhile, if this is process 1. A signal interrupts it.
            wait "$controller" && status=0 || status=$?
        done
        controller=''
        if [ -n "$stopping" ] || [ "$status" -le 128 ]; then
            exit "$status"
        fi
        printf 'the controller was killed by signal %d; it is started again\n' $((status - 128)) >&2
        sleep 1
        [ -z "$stopping" ] || exit "$status"
    done
}

[ $# -gt 0 ] || set -- serve
data=${MODEL_DEPLOYMENT_DATA_DIR:-data}

# As Docker secrets are usually given: a file with the value, which docker inspect does not show.
if [ -n "${MODEL_DEPLOYMENT_DOCUMENTS_URL_FILE-}" ] && [ -z "${MODEL_DEPLOYMENT_DOCUMENTS_URL-}" ]; then
    case $1 in
    serve | demo | backup | restore)
        MODEL_DEPLOYMENT_DOCUMENTS_URL=$(from_file MODEL_DEPLOYMENT_DOCUMENTS_URL_FILE "$MODEL_DEPLOYMENT_DOCUMENTS_URL_FILE")
        export MODEL_DEPLOYMENT_DOCUMENTS_URL
        ;;
    esac
fi

case $1 in
serve | demo)
    for name in MODEL_DEPLOYMENT_MLFLOW_WEBHOOK_SECRET MODEL_DEPLOYMENT_FLOWS_API_AUTH; do
        eval "file=\${${name}_FILE-} value=\${$name-}"
        # shellcheck disable=SC2154 # eval has set them
        if [ -n "$file" ] && [ -z "$value" ]; then
            value=$(from_file "${name}_FILE" "$file")
            export "$name=$value"
        fi
    done
    ;;
esac

case $1 in
serve | demo)
    check_folder
    check_addresses
    check_credentials
    ;;
users | backup | restore) check_folder ;;
esac

command -v model-deployment >/dev/null ||
    fail "cannot find the program model-deployment: put the bin folder of its virtual environment into PATH"
case ${SUPERVISE-}$1 in
trueserve | truedemo)
    unset SUPERVISE
    supervise "$@"
    ;;
esac
exec model-deployment "$@"
