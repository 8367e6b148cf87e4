"""The types of fields that several requests of the API have."""

from typing import Annotated

from pydantic import Field

from shared.model import Role

NAME_PATTERN = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""For the OpenAPI document only. `names` checks names."""
NAME_CHARACTERS = 255

RoleWord = Annotated[Role, Field(strict=False)]
"""Not strict, because the values of an enumeration arrive as text."""

BranchName = Annotated[str, Field(min_length=1, max_length=NAME_CHARACTERS)]
"""The name of a branch, or in some requests the id of a commit."""
