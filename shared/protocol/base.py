"""The base classes of requests and replies, and the validation of a request.

Models are strict: a text is a text, a flag is `true` or `false`, and every number has a range.
"""

from typing import Any, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    ValidationError,
    WithJsonSchema,
    with_config,
)
from typing_extensions import TypedDict

from shared.refusals import refusal

MODEL = "x-model"
"""The key with the name of a model in a schema."""


class WireRequest(BaseModel):
    """The base of all requests of the wire protocol. Unknown keys are ignored."""

    model_config = ConfigDict(defer_build=True, strict=True, extra="ignore", frozen=True)


class RequestModel(BaseModel):
    """The base of all bodies of the API.

    A request with an unknown field is refused, because it may be a typing error.
    """

    model_config = ConfigDict(defer_build=True, strict=True, extra="forbid", frozen=True)


class QueryModel(BaseModel):
    """The base of all query strings of the API. Texts are converted to the types of the fields."""

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)


class ResponseModel(BaseModel):
    """The base of all replies of the API. Times are epoch seconds."""

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)


@with_config(ConfigDict(defer_build=True, extra="forbid"))
class WireReply(TypedDict):
    """The base of all replies of the wire protocol."""


def schema_of(model: type[BaseModel]) -> WithJsonSchema:
    """The annotation of a plain map that has the schema of a model in the OpenAPI document.

    The hub verifies such a map later, or returns it as it was stored. The generator of the document
    replaces the key.
    """
    return WithJsonSchema({MODEL: model.__name__})


M = TypeVar("M", bound=BaseModel)


def parse(model: type[M], value: Any, what: str = "the body") -> M:
    """Validate a value. Raises Unprocessable, or TooLarge for a list over its limit."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise refusal(
            what, error.errors(include_url=False, include_context=True, include_input=False)
        ) from error
