"""Users of identity providers. Statuses 403, 409 and 502."""

from shared.errors.base import ApiError
from shared.errors.requests import Forbidden


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
