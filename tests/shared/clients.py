"""Stand-ins for an AWS client: the real one, watched, or one that answers badly."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError


class Watched:
    """Passes every call on to a real client, and counts calls by name."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.calls: Counter[str] = Counter()
        self.requests: list[dict[str, Any]] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def call(**request: Any) -> Any:
            self.calls[name] += 1
            self.requests.append(request)
            return await getattr(self._client, name)(**request)

        return call


class Failing:
    """Raises the same error from every call."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def call(**request: Any) -> Any:
            raise self._error

        return call


def client_error(code: str, status: int = 400, **more: Any) -> ClientError:
    """What botocore makes of an error reply."""
    response: Any = {
        "Error": {"Code": code, "Message": "from AWS"},
        "ResponseMetadata": {"HTTPStatusCode": status},
        **more,
    }
    return ClientError(response, "Operation")
