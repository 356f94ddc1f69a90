#!/bin/sh
# Brings Temporal's two databases to the schema of this Temporal version. Running it again changes nothing.
# Needs SQL_PASSWORD, the password of the role `temporal`.
set -eu

migrate() {
  database=$1 schema=/etc/temporal/schema/postgresql/v12/$2/versioned
  echo "temporal-schema: $database"
  set -- temporal-sql-tool --plugin postgres12 --endpoint postgres --port 5432 --user temporal --database "$database"
  "$@" setup-schema --version 0.0
  "$@" update-schema --schema-dir "$schema"
}

migrate temporal temporal
migrate temporal_visibility visibility
