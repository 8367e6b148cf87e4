"""Staged request bodies: a client uploads the body of a request to S3, and sends the request with a
reference to it.

    POST staging                  check the caller's rights, reply with a URL and a reference
    PUT to the URL                to S3, without the hub
    POST push, or push/objects    no body, but the header `Pieria-Staged-Body: <reference>`

So a body may be larger than Lambda accepts. All checks of the target route apply: the rights of the
caller are checked before S3 is read. A reference may be used several times until it expires, as any
request may be repeated. S3 deletes the body: the lifecycle of the bucket expires it with the other
uploads.
"""

import secrets
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TypeVar

from pydantic import BaseModel
from starlette.requests import Request

from shared import auth, http, references
from shared.actions import repos
from shared.errors import MalformedBody, StagedBodyInvalid, TooLarge
from shared.http import Access
from shared.objects.quarantine import reserve_uploads
from shared.protocol.push import Stage, Staged, StagedRoute
from shared.references import STAGE_AGAIN, Reference
from shared.settings import EXPANDED_BYTES

HEADER = "pieria-staged-body"
URL_SECONDS = 900
"""Within this time the upload has to begin."""
REFERENCE_SECONDS = 3600
"""Longer than that of the URL: 64 MiB take 18 minutes at 0.5 Mbit/s, and the request may have to
wait for a limit.
"""

B = TypeVar("B", bound=BaseModel)


async def stage(access: Access, asked: Stage) -> Staged:
    """`url` to PUT exactly the announced bytes to, and the `reference` to them.

    Raises TooLarge and CostLimited.

    Budget: 2 AWS calls, chain of 1 (staging).
    """
    if asked.size > EXPANDED_BYTES:
        raise TooLarge(
            f"a staged body may have {EXPANDED_BYTES} bytes, and this one has {asked.size};"
            f" {http.IN_STEPS}"
        )
    opened = access.stores
    now = int(access.now)
    repository = opened.of(await repos.create_if_absent(opened, access.repo, now))
    await reserve_uploads([asked.size])
    name = secrets.token_hex(16)
    reference = Reference(
        aud=references.AUDIENCE,
        repo_id=repository.repo_id,
        sub=access.by,
        route=asked.route,
        size=asked.size,
        name=name,
        exp=now + REFERENCE_SECONDS,
    )
    keys = await opened.keyring.signing(access.now)
    url = await repository.quarantine.presign_body(name, URL_SECONDS, asked.size)
    return {
        "url": url,
        "reference": references.sign(keys, reference),
        "expires_in_seconds": URL_SECONDS,
    }


async def body(request: Request, access: Access, route: StagedRoute, shape: type[B]) -> B:
    """The body of a request to this route in the shape it should have, sent with the request or
    staged before.

    Raises as `http.body` does; StagedBodyInvalid, and MalformedBody for a request that has both.

    Budget: 7 AWS calls, chain of 5 (push/objects, 50 objects of 4 KiB, staged).
    """
    settings = access.stores.settings
    text = request.headers.get(HEADER)
    if text is None:
        pieces = http.received(request, settings.max_body_bytes, http.BY_RELAY)
    else:
        pieces = _staged(request, access, text, route)
    return await http.decoded(request, shape, pieces, settings.max_expanded_bytes, http.IN_STEPS)


async def _staged(
    request: Request, access: Access, text: str, route: StagedRoute
) -> AsyncIterator[bytes]:
    """The bytes of a staged body.

    Raises StagedBodyInvalid, and MalformedBody if the request has a body as well.
    """
    async for piece in request.stream():
        if piece:
            raise MalformedBody(
                "this request has a body, and a reference to a staged one: send one of the two"
            )
    reference = await _reference(access, text, route)
    stream = await access.repository.quarantine.body(reference.name)
    if stream is None:
        raise StagedBodyInvalid(
            f"the staged body was not uploaded, or has been deleted; {STAGE_AGAIN}"
        )
    if stream.length != reference.size:
        await stream.close()
        lengths = f"the staged body has {stream.length} bytes, and {reference.size} were announced"
        raise StagedBodyInvalid(f"{lengths}; {STAGE_AGAIN}")
    async with aclosing(stream.chunks) as chunks:
        async for chunk in chunks:
            yield chunk


async def _reference(access: Access, text: str, route: StagedRoute) -> Reference:
    """The reference, if it is valid for this request. Raises StagedBodyInvalid."""
    key_id = auth.key_id(text)
    if key_id:
        keys = await access.stores.keyring.verifying(key_id, access.now)
    else:
        keys = {}
    reference = references.verify(keys, text, access.now)
    if (reference.repo_id, reference.sub, reference.route) != (
        access.repo.repo_id,
        access.by,
        route,
    ):
        raise StagedBodyInvalid(
            f"the staged body is for another repository, route or user; {STAGE_AGAIN}"
        )
    return reference
