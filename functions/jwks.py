"""GET /.well-known/jwks.json: the public keys of the hub, as a JSON Web Key Set (RFC 7517).

With them, another service can verify a token of this hub.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from shared import http, lambdas, signing
from shared.http import Visitor
from shared.protocol.hub import KeySet
from shared.protocol.operation import operation

MAX_AGE_SECONDS = 300
"""A verifier may keep the keys for this time. A new key verifies long before it is needed: see
`pieria key rotate`."""

router = APIRouter()


@router.get(
    "/.well-known/jwks.json",
    response_model=KeySet,
    openapi_extra=operation(auth="optional"),
)
async def get_jwks(
    request: Request, visitor: Annotated[Visitor, Depends(http.visiting("read"))]
) -> Response:
    """The public keys that verify tokens of this hub. Empty for a hub that signs with a secret."""
    keys = await visitor.stores.keyring.signing(visitor.now)
    reply = http.reply(request, signing.key_set(keys))
    reply.headers["Cache-Control"] = f"public, max-age={MAX_AGE_SECONDS}"
    return reply


app = http.create_app(router)
handler = lambdas.handler_of(app)
