"""The settings: the environment, read once into one frozen value. No other module of the core reads
it.

botocore reads its own variables (`AWS_ENDPOINT_URL`, `AWS_DEFAULT_REGION`, credentials). The same
code runs in tests, on a laptop and in Lambda.
"""

import functools
import os
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    Json,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from shared import signing

MIB = 1024 * 1024
EXPANDED_BYTES = 64 * MIB
"""The largest staged body, and the largest expanded body of a push.

It fits into 1,769 MB of memory.
"""


Key = Annotated[str, Field(min_length=32), AfterValidator(signing.check)]
"""A key in one of the forms of `shared/signing.py`. HS256 requires 256 bits (RFC 7518, 3.2)."""

Keys = Json[Annotated[dict[str, Key], Field(min_length=1)]]
_KEYS: TypeAdapter[dict[str, str]] = TypeAdapter(Keys)

ClientSecrets = Json[dict[str, Annotated[str, Field(min_length=1)]]]
_CLIENT_SECRETS: TypeAdapter[dict[str, str]] = TypeAdapter(ClientSecrets)


class Settings(BaseModel):
    """The settings of a deployment.

    The variable of a field is `PIERIA_` + its name in upper case, except `memory_mb`, which Lambda
    sets. `signing_keys` is a JSON object from key id to key, oldest first. All keys verify; the
    last one signs. In an AWS account, the keys are the value of an SSM parameter with the name
    `signing_keys_parameter`; the private key is in a second one. Exactly one of the two is set.
    """

    # Hidden, because an error about `signing_keys` must not print them.
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    hub_table: str
    counter_table: str
    bucket: str
    signing_keys: Keys = Field(default={})
    signing_keys_parameter: str = Field(default="", validate_default=True)
    data: str = ""
    """The folder of a hub on one machine. Empty: the hub uses DynamoDB and S3."""
    push_to_create: bool = False
    """Whether the first write of an owner to an absent repository creates it (public)."""

    upkeep: bool = True
    """Whether the hub does its upkeep by itself (see `maintenance/upkeep`)."""

    limit_push: int = Field(default=30, ge=1)
    """Requests of class `push` per minute and subject. The next three are alike."""
    limit_fetch: int = Field(default=120, ge=1)
    limit_read: int = Field(default=120, ge=1)
    limit_upload: int = Field(default=600, ge=1)

    limit_cost_subject: float = Field(default=2, ge=0, allow_inf_nan=False)
    """The AWS cost of one subject per day in US dollars (see `budget`). 0: no limit."""
    limit_cost_owner: float = Field(default=10, ge=0, allow_inf_nan=False)
    """The same for the requests of other subjects to the repositories of one owner."""
    limit_cost_hub: float = Field(default=50, ge=0, allow_inf_nan=False)
    """The same for all requests."""

    limit_bytes_owner: int = Field(default=50_000_000_000, ge=0)
    """The bytes that one owner may store (see `quotas`). 0: no limit."""

    max_body_bytes: int = Field(default=64 * MIB, ge=1)
    """The largest body, as sent, of `push` and `push/objects`, with room for any stock chunk."""
    max_reply_bytes: int = Field(default=64 * MIB, ge=1)
    """The largest reply of `fetch`: the stock client reads 64 MiB."""
    max_object_bytes: int = Field(default=63 * MIB, ge=1, le=1024 * MIB)
    """The largest object of a push. A larger one could not be cloned: the stock client reads 64 MiB
    per reply, of which 1 MiB is left for the commit, its manifest and the branches. One push
    verifies 1 GiB.
    """
    openid_issuer: str = ""
    """The OpenID Connect provider with which users sign in. Empty: none."""
    openid_client_id: str = ""
    github_client_id: str = ""
    """The OAuth app with which users of GitHub sign in. Empty: none."""
    github_url: str = Field(default="https://github.com", pattern=r"^https?://[^/]+$")
    client_secrets: ClientSecrets = Field(default={})
    """The secrets of the hub at its providers: `openid`, `github`. See `signing_keys`."""
    client_secrets_parameter: str = ""
    """The SSM parameter with these secrets, instead of `client_secrets`."""
    local_issuers: bool = False
    """For tests: issuers may also be at http://localhost. Lambda refuses to start with it."""
    origin_secret: str = Field(default="", pattern=r"^([!-~]{32,})?$")
    """The secret that the proxy sends with each request (see `middleware`). Empty: no proxy."""
    log_level: str = "INFO"
    metrics: bool = False
    """Whether the log line of a request has its metrics (see `metrics`)."""
    memory_mb: int = Field(default=0, ge=0)
    """The memory of the Lambda function, which determines its price; 0 outside of Lambda."""

    @property
    def max_expanded_bytes(self) -> int:
        """The largest expanded body of `push` and `push/objects`, which Lambda does not limit."""
        return max(self.max_body_bytes, EXPANDED_BYTES)

    @field_validator("memory_mb")
    @classmethod
    def _no_local_issuers_in_lambda(cls, memory_mb: int, info: ValidationInfo) -> int:
        if memory_mb and info.data.get("local_issuers"):
            raise ValueError("PIERIA_LOCAL_ISSUERS is for a hub on one machine")
        return memory_mb

    @field_validator("signing_keys_parameter")
    @classmethod
    def _one_source_of_keys(cls, name: str, info: ValidationInfo) -> str:
        if "signing_keys" in info.data and bool(name) is bool(info.data["signing_keys"]):
            raise ValueError("set either PIERIA_SIGNING_KEYS or PIERIA_SIGNING_KEYS_PARAMETER")
        return name


def parse_keys(text: str) -> dict[str, str]:
    """Parse signing keys from JSON. Raises ValueError with a message that does not contain them."""
    try:
        return _KEYS.validate_python(text)
    except ValidationError:
        # Not chained, because the message of pydantic quotes the input.
        raise ValueError("not a JSON object of keys of at least 32 characters") from None


def parse_client_secrets(text: str) -> dict[str, str]:
    """Parse client secrets from JSON. Raises ValueError with a message without them."""
    try:
        return _CLIENT_SECRETS.validate_python(text)
    except ValidationError:
        raise ValueError("not a JSON object of client secrets") from None


@functools.cache
def load() -> Settings:
    """Return the settings of the process. Raises ValidationError with every invalid field."""
    variables = {name: f"PIERIA_{name.upper()}" for name in Settings.model_fields}
    variables["memory_mb"] = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"
    return Settings.model_validate(
        {
            name: os.environ[variable]
            for name, variable in variables.items()
            if variable in os.environ
        }
    )
