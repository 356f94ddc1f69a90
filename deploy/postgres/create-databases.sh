#!/bin/sh
# Run by the PostgreSQL image when its data folder is new: one server, and two owners who cannot read each other.
set -eu

psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres \
  --set temporal_password="$TEMPORAL_DB_PASSWORD" --set playhead_password="$PLAYHEAD_DB_PASSWORD" <<'SQL'
CREATE ROLE temporal LOGIN PASSWORD :'temporal_password';
CREATE ROLE playhead LOGIN PASSWORD :'playhead_password';

CREATE DATABASE temporal OWNER temporal;
CREATE DATABASE temporal_visibility OWNER temporal;
CREATE DATABASE playhead OWNER playhead;

REVOKE CONNECT ON DATABASE temporal, temporal_visibility, playhead FROM PUBLIC;
SQL
