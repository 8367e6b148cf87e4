#!/bin/sh
# Serves `fetch` by HTTP: Python's Lambda runtime cannot stream a reply, but the Lambda Web Adapter in front of this server
# can. It also runs without the adapter, on any machine with the environment of shared/settings.py.
set -eu
cd "$(dirname "$0")"

# No proxy headers: behind the adapter the peer of every request is 127.0.0.1, whose headers uvicorn would trust.
exec python3 -m uvicorn functions.fetch:app \
	--host 127.0.0.1 --port "${AWS_LWA_PORT:-8080}" --workers 1 --lifespan off \
	--http shared.connection:Connection --no-access-log --log-level warning --no-proxy-headers --no-server-header
