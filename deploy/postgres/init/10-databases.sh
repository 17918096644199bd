#!/bin/bash
# One database and one role for each service: no service can read another's tables.
# PostgreSQL's image runs this once, when the data volume is empty; the passwords come from deploy/make-secrets.
set -euo pipefail

secrets=${SECRETS_DIRECTORY:-/run/secrets}
administer() { psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" "$@"; }

for service in coordinator inventory payments shipping front; do
    # Read inside psql: a password on a command line can be seen in the process list.
    administer --dbname postgres --set service="$service" --set file="$secrets/${service}_database_password" <<'SQL'
\set password `cat :'file'`
CREATE ROLE :"service" LOGIN PASSWORD :'password';
CREATE DATABASE :"service" OWNER :"service";
REVOKE ALL ON DATABASE :"service" FROM PUBLIC;
SQL
done

administer --dbname postgres --set file="$secrets/monitoring_database_password" <<'SQL'
\set password `cat :'file'`
CREATE ROLE monitoring LOGIN PASSWORD :'password' CONNECTION LIMIT 5;
GRANT pg_monitor TO monitoring;
SQL
