"""Users and programs of identity providers. Statuses 400, 403, 404, 409 and 502."""

from shared.errors.base import ApiError
from shared.errors.not_found import NotFound
from shared.errors.requests import BadRequest, Forbidden


class SignInRefused(Forbidden):
    """The sign-in through a provider belongs to another browser, was used already, or failed."""

    code = "sign_in_refused"


class HandleInUse(ApiError):
    """A user who signs in for the first time chose a handle that is claimed."""

    status = 409
    code = "handle_in_use"

    def __init__(self, handle: str) -> None:
        super().__init__(
            f"the handle {handle} is in use; choose another one. If it is yours, sign in with a"
            " token of it first, and then sign in here again to link the two"
        )


class IdentityLinked(ApiError):
    """The user of the provider is linked to another handle already."""

    status = 409
    code = "identity_linked"

    def __init__(self, handle: str) -> None:
        super().__init__(
            f"this user of the provider signs in to {handle}; ask the operator of the hub, who can"
            " change that with `pieria identity unlink`"
        )


class IssuerInvalid(ApiError):
    """An identity provider replied with something that cannot be used. A retry rarely helps."""

    status = 502
    code = "issuer_invalid"


class TrustedIssuerNotFound(NotFound):
    """The repository has no trusted issuer of this id."""

    code = "trusted_issuer_not_found"
    text = "there is no trusted issuer of this id; list them with GET trusted-issuers"


class TokenRefused(BadRequest):
    """The exchange of a token is refused. Each subclass has a code of RFC 6749 or RFC 8693."""

    code = "token_refused"


class InvalidTokenRequest(TokenRefused):
    """The request of a token exchange, or its ID token, is malformed."""

    code = "invalid_request"


class UnsupportedGrant(TokenRefused):
    """The request is of another kind than a token exchange."""

    code = "unsupported_grant_type"


class InvalidTarget(TokenRefused):
    """The repository does not accept the ID token, or does not exist: both look the same."""

    code = "invalid_target"

    def __init__(self) -> None:
        super().__init__(
            "no repository of this name accepts this ID token: an admin registers its issuer,"
            " audience and claims under Settings, Trusted issuers; compare them with the token, and"
            " check that it is still valid"
        )


class InvalidScope(TokenRefused):
    """The request asks for more than the registered scope."""

    code = "invalid_scope"

    def __init__(self, allowed: str) -> None:
        super().__init__(f"this scope is not available; ask for {allowed}, or leave scope out")
