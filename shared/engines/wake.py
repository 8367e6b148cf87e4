"""Start the functions of the next requests while this function starts.

After an idle night no function has a container, and the client asks one function after another. The
client's first request is `refs`, before each push, pull and clone. So the first thing that a new
container of `refs` does is to invoke the other functions, and all of them start at the same time.
A container that runs already invokes nothing.

    PIERIA_WAKE    the names of the functions, separated by spaces. The template sets it for `refs`

An invocation is asynchronous: Lambda replies 202 at once, and no request waits for it. If it fails,
the other functions start later, as without it. It is sent by `http.client`, because the
import of an AWS client takes three times as long as that of its signature alone.
"""

import http.client
import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from botocore.awsrequest import AWSRequest

EVENT = {"pieria": "wake"}
"""The event of a wake-up. A client cannot send it: API Gateway wraps each request in its own."""
TIMEOUT_SECONDS = 3


@dataclass(frozen=True, slots=True)
class Place:
    """The functions to invoke, and the place and the credentials for it, from the environment."""

    functions: Sequence[str]
    endpoint: str
    region: str
    credentials: Mapping[str, str]

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> "Place":
        """Read the variables that Lambda and the template set."""
        region = variables.get("AWS_REGION", "")
        suffix = ".cn" if region.startswith("cn-") else ""
        own = f"https://lambda.{region}.amazonaws.com{suffix}"
        return cls(
            functions=variables.get("PIERIA_WAKE", "").split(),
            endpoint=variables.get("AWS_ENDPOINT_URL_LAMBDA", own),
            region=region,
            credentials={
                "access_key": variables.get("AWS_ACCESS_KEY_ID", ""),
                "secret_key": variables.get("AWS_SECRET_ACCESS_KEY", ""),
                "token": variables.get("AWS_SESSION_TOKEN", ""),
            },
        )


def others() -> None:
    """Invoke the functions named in the environment, in a thread. Call it before slow imports."""
    # The settings would be a slow import.
    place = Place.of(os.environ)
    if place.functions:
        # Signed in this thread: the imports of the signature would compete with those that follow.
        signed = [_signed(name, place) for name in place.functions]
        threading.Thread(target=_send, args=[place.endpoint, signed], daemon=True).start()


async def warm() -> None:
    """Open connections, and read the signing keys, for which a first request would wait."""
    # Not at the top: `others` runs before these imports.
    from shared.engines.selection import stores
    from shared.errors import Unavailable
    from shared.metadata import keys

    # After a failure, the first request opens them, and reports the failure.
    with suppress(Unavailable):
        opened = await stores()
        await opened.keyring.verifying("", time.time())
        await opened.hub.find([keys.handle("wake")], maybe_stale=True)


def _signed(function: str, place: Place) -> "AWSRequest":
    """An invocation, signed with the credentials of this function's role."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    request = AWSRequest(
        "POST",
        headers={"X-Amz-Invocation-Type": "Event"},
        data=json.dumps(EVENT),
        url=f"{place.endpoint}/2015-03-31/functions/{quote(function)}/invocations",
    )
    SigV4Auth(Credentials(**place.credentials), "lambda", place.region).add_auth(request)
    return request


def _send(endpoint: str, invocations: Sequence["AWSRequest"]) -> None:
    address = urlsplit(endpoint)
    connect: type[http.client.HTTPConnection] = http.client.HTTPConnection
    if address.scheme == "https":
        connect = http.client.HTTPSConnection
    connection = connect(address.netloc, timeout=TIMEOUT_SECONDS)
    try:
        for invocation in invocations:
            path = urlsplit(str(invocation.url)).path
            headers = {name: str(value) for name, value in invocation.headers.items()}
            connection.request("POST", path, invocation.data, headers)
            reply = connection.getresponse()
            reply.read()
            if reply.status != http.client.ACCEPTED:
                _log_failure(f"status {reply.status}")
    except (OSError, http.client.HTTPException) as error:
        _log_failure(repr(error))
    finally:
        connection.close()


def _log_failure(reason: str) -> None:
    from shared import log

    log.at("WARNING").warning("functions not woken", reason=reason)
