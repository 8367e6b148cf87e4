#!/bin/sh
# Serves `fetch` as a web server: Python's Lambda runtime cannot stream a reply, the Lambda Web Adapter in front
# of this can. Without the adapter it is the same on any machine that has the environment of shared/settings.py.
set -eu
cd "$(dirname "$0")"

# No proxy headers: behind the adapter everybody's peer is 127.0.0.1, which uvicorn would believe anything.
exec python3 -m uvicorn functions.fetch:app \
	--host 127.0.0.1 --port "${AWS_LWA_PORT:-8080}" --workers 1 --lifespan off \
	--http shared.connection:Connection --no-access-log --log-level warning --no-proxy-headers --no-server-header
