"""The environment, read once, as one frozen value. Nothing else in the core looks at it.

AWS itself is chosen by the names botocore already knows (`AWS_ENDPOINT_URL`, `AWS_REGION`, credentials):
the same code runs in tests, on a laptop and in Lambda.
"""

import functools
import os
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, Json

MIB = 1024 * 1024


Secret = Annotated[str, Field(min_length=32)]
"""HS256 asks for 256 bits (RFC 7518, 3.2)."""


class Settings(BaseModel):
    """What differs between one deployment and another.

    Environment: `PIERIA_` + the upper-cased field name. `signing_keys` is a JSON object from key id to
    secret, oldest first: every key verifies, the last one signs, so a rotation is two edits without a gap.
    """

    # Hidden: a complaint about `signing_keys` must not print them.
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    hub_table: str
    counter_table: str
    bucket: str
    signing_keys: Json[Annotated[dict[str, Secret], Field(min_length=1)]]
    push_to_create: bool = False
    """Whether an owner's first write to an absent repository creates it (public)."""

    limit_push: int = Field(default=30, ge=1)
    """Requests a minute of class `push`, per subject. The other three are alike."""
    limit_fetch: int = Field(default=120, ge=1)
    limit_read: int = Field(default=120, ge=1)
    limit_upload: int = Field(default=600, ge=1)

    max_body_bytes: int = Field(default=64 * MIB, ge=1)
    """The largest request body of `push` and `push/objects`; 64 MiB holds any chunk of the stock client."""
    log_level: str = "INFO"


@functools.cache
def load() -> Settings:
    """The process's settings. Raises pydantic's ValidationError naming every variable that is wrong."""
    return Settings.model_validate(
        {
            name: os.environ[variable]
            for name in Settings.model_fields
            if (variable := f"PIERIA_{name.upper()}") in os.environ
        }
    )
