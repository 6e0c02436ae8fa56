#!/bin/sh
# As the official image does it: an empty folder gets the user of MONGO_INITDB_ROOT_*, on a server that
# only this container reaches; then mongod runs with access control.
set -eu
password=$(cat "$MONGO_INITDB_ROOT_PASSWORD_FILE")
if [ ! -e /data/db/WiredTiger ]; then
    mongod --bind_ip 127.0.0.1 --dbpath /data/db --fork --logpath /proc/self/fd/1 --pidfilepath /tmp/mongod.pid >/dev/null
    PASSWORD=$password /usr/local/pip/bin/python -c '
import os, pymongo
pymongo.MongoClient("mongodb://127.0.0.1").admin.command(
    "createUser", os.environ["MONGO_INITDB_ROOT_USERNAME"], pwd=os.environ["PASSWORD"], roles=["root"])'
    mongod --dbpath /data/db --shutdown --pidfilepath /tmp/mongod.pid
fi
shift
exec mongod --bind_ip_all --auth "$@"
