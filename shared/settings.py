"""The environment, read once, as one frozen value. Nothing else in the core looks at it.

AWS itself is chosen by the names botocore already knows (`AWS_ENDPOINT_URL`, `AWS_DEFAULT_REGION`, credentials):
the same code runs in tests, on a laptop and in Lambda.
"""

import functools
import os
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, Json, TypeAdapter, ValidationError, ValidationInfo, field_validator

MIB = 1024 * 1024
EXPANDED_BYTES = 64 * MIB
"""The largest staged body, and the largest body of a push when it is expanded. 1,769 MB of memory hold it."""


Secret = Annotated[str, Field(min_length=32)]
"""HS256 asks for 256 bits (RFC 7518, 3.2)."""

Keys = Json[Annotated[dict[str, Secret], Field(min_length=1)]]
_KEYS: TypeAdapter[dict[str, str]] = TypeAdapter(Keys)


class Settings(BaseModel):
    """What differs between one deployment and another.

    Environment: `PIERIA_` + the upper-cased field name, but for `memory_mb`, which Lambda sets. `signing_keys` is a
    JSON object from key id to secret, oldest first: every key verifies, the last one signs. In an account it is the
    value of an SSM parameter instead, and `signing_keys_parameter` its name: exactly one of the two is set.
    """

    # Hidden: a complaint about `signing_keys` must not print them.
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    hub_table: str
    counter_table: str
    bucket: str
    signing_keys: Keys = Field(default={})
    signing_keys_parameter: str = Field(default="", validate_default=True)
    push_to_create: bool = False
    """Whether an owner's first write to an absent repository creates it (public)."""

    limit_push: int = Field(default=30, ge=1)
    """Requests a minute of class `push`, per subject. The other three are alike."""
    limit_fetch: int = Field(default=120, ge=1)
    limit_read: int = Field(default=120, ge=1)
    limit_upload: int = Field(default=600, ge=1)

    limit_cost_subject: float = Field(default=2, ge=0, allow_inf_nan=False)
    """US dollars of AWS that one subject may cost a day (see `budget`). 0: no limit, as on a machine of one's own."""
    limit_cost_owner: float = Field(default=10, ge=0, allow_inf_nan=False)
    """The same for requests of others to the repositories of one owner."""
    limit_cost_hub: float = Field(default=50, ge=0, allow_inf_nan=False)
    """The same for all requests together."""

    max_body_bytes: int = Field(default=64 * MIB, ge=1)
    """The largest request body of `push` and `push/objects`, as sent; 64 MiB holds any chunk of the stock client."""
    max_reply_bytes: int = Field(default=64 * MIB, ge=1)
    """The largest answer of `fetch`; the stock client reads 64 MiB. What Lambda passes in one piece is less."""
    max_object_bytes: int = Field(default=63 * MIB, ge=1, le=1024 * MIB)
    """The largest object of a push. A larger one could not be cloned: the stock client reads 64 MiB per
    reply, of which 1 MiB is left for the commit, its manifest and the branches. One push verifies 1 GiB."""
    origin_secret: str = Field(default="", pattern=r"^([!-~]{32,})?$")
    """What a proxy in front of us, and nobody else, sends with each request (see `edge`). Empty: nobody has to."""
    log_level: str = "INFO"
    memory_mb: int = Field(default=0, ge=0)
    """The memory of a Lambda function, which its price depends on; 0 on a machine that costs nothing per request."""

    @property
    def max_expanded_bytes(self) -> int:
        """The largest body of `push` and `push/objects` when it is expanded. What Lambda accepts does not limit it."""
        return max(self.max_body_bytes, EXPANDED_BYTES)

    @field_validator("signing_keys_parameter")
    @classmethod
    def _one_source_of_keys(cls, name: str, info: ValidationInfo) -> str:
        if "signing_keys" in info.data and bool(name) is bool(info.data["signing_keys"]):
            raise ValueError("set either PIERIA_SIGNING_KEYS or PIERIA_SIGNING_KEYS_PARAMETER")
        return name


def parse_keys(text: str) -> dict[str, str]:
    """Signing keys from their JSON. Raises ValueError, which does not repeat them."""
    try:
        return _KEYS.validate_python(text)
    except ValidationError:
        # Not chained: the complaint quotes what it complains about.
        raise ValueError("not a JSON object of secrets of at least 32 characters") from None


@functools.cache
def load() -> Settings:
    """The process's settings. Raises pydantic's ValidationError naming every variable that is wrong."""
    variables = {name: f"PIERIA_{name.upper()}" for name in Settings.model_fields}
    variables["memory_mb"] = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"
    return Settings.model_validate(
        {name: os.environ[variable] for name, variable in variables.items() if variable in os.environ}
    )
