"""The pages of lists. A query has the cursor that the page before returned."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from shared import cursors
from shared.protocol import limits
from shared.protocol.base import QueryModel

PAGE = 100
"""The longest page of a list of the API."""

Cursor = Annotated[str, Field(max_length=cursors.CHARACTERS)]


class PageQuery(QueryModel):
    """A page of a list: up to `limit` entries after the cursor of the page before."""

    limit: Annotated[int, Field(ge=1, le=PAGE)] = 30
    cursor: Cursor = ""

    @property
    def after(self) -> str | None:
        """The last entry of the page before; None for the first page. Raises Unprocessable."""
        return cursors.parse_after(self.cursor) or None


class WirePageQuery(BaseModel):
    """A page of a list of the wire protocol. Unknown keys are ignored."""

    model_config = ConfigDict(defer_build=True, extra="ignore", frozen=True)

    limit: Annotated[int, Field(ge=1, le=limits.PAGE)] = limits.PAGE
    cursor: Annotated[str, Field(max_length=512)] = ""
