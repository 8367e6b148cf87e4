"""The one place where tests intercept the AWS calls of the hub.

botocore has no public hook that surrounds a whole call: its events run before or after the HTTP
request, and a handler cannot await. So this module replaces the method of aiobotocore through
which every call passes. No other test module does.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from aiobotocore.client import AioBaseClient


@dataclass(frozen=True, slots=True)
class CloudCall:
    """One AWS call that has not been sent yet."""

    client: Any
    operation: str
    """The name in botocore, such as `PutItem`."""
    parameters: Any
    _send: Callable[[Any, str, Any], Awaitable[Any]]

    @property
    def service(self) -> str:
        """The name in botocore, such as `dynamodb`."""
        return str(self.client.meta.service_model.service_name)

    @property
    def name(self) -> str:
        """Service and operation, such as `dynamodb.PutItem`."""
        return f"{self.service}.{self.operation}"

    async def send(self) -> Any:
        """Send the call. Returns the reply."""
        return await self._send(self.client, self.operation, self.parameters)

    async def send_with(self, parameters: Any) -> Any:
        """Send the call with other parameters. Returns the reply."""
        return await self._send(self.client, self.operation, parameters)

    async def send_other(self, operation: str, parameters: Any) -> Any:
        """Send another call of the same client, which is not intercepted. Returns the reply."""
        return await self._send(self.client, operation, parameters)


@contextmanager
def intercepted(interceptor: Callable[[CloudCall], Awaitable[Any]]) -> Iterator[None]:
    """Pass every call of every aiobotocore client to `interceptor`, which returns the reply.

    Interceptors can be nested. The inner one receives a call first; `send` passes it on to the
    outer one.
    """
    patched: Any = AioBaseClient
    original = patched._make_api_call

    async def make_api_call(client: Any, operation: str, parameters: Any) -> Any:
        return await interceptor(CloudCall(client, operation, parameters, original))

    patched._make_api_call = make_api_call
    try:
        yield
    finally:
        patched._make_api_call = original
