#!/bin/sh
# Makes the namespace and the search attributes that Playhead's sessions carry. Running it again changes nothing.
# Reads TEMPORAL_ADDRESS, NAMESPACE and RETENTION (how long Temporal keeps ended sessions, such as 720h).
set -eu

waited=0
until temporal operator cluster health >/dev/null 2>&1; do
  waited=$((waited + 1))
  if [ "$waited" -ge 60 ]; then
    echo "temporal-namespace: no healthy Temporal server at $TEMPORAL_ADDRESS after a minute; see its log" >&2
    exit 1
  fi
  sleep 1
done

if ! temporal operator namespace describe --namespace "$NAMESPACE" >/dev/null 2>&1; then
  temporal operator namespace create --namespace "$NAMESPACE" --retention "$RETENTION"
fi

# A new namespace reaches the server's caches after some seconds; until then it is refused as unknown.
# One name a call: the command accepts several, reports success, and makes only the first (Temporal CLI 1.9.1).
for name in PlayheadOrg PlayheadAgent PlayheadStatus PlayheadNode PlayheadSuite; do
  waited=0
  until answer=$(temporal operator search-attribute create --namespace "$NAMESPACE" --type Keyword --name "$name" 2>&1); do
    waited=$((waited + 1))
    if [ "$waited" -ge 30 ]; then
      echo "temporal-namespace: search attribute $name could not be made in namespace $NAMESPACE: $answer" >&2
      exit 1
    fi
    sleep 1
  done
done

echo "temporal-namespace: $NAMESPACE is ready"
