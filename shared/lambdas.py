"""The adapter between AWS Lambda and an ASGI app.

A function with routes is invoked with an event of an HTTP API or a function URL, payload format
2.0, or with the wake-up of another function (`engines/wake`). Every other event is foreign: a test
event of the console, a schedule, an event of a REST API or a load balancer. The reply to it is 400
and a log line, because an exception would only cause a stack trace without a reply. A job has no
routes, and ignores the content of its event.
"""

import asyncio
import base64
import binascii
import threading
from collections.abc import Callable, Coroutine, Mapping
from typing import Any
from urllib.parse import quote

from mangum import Mangum

from shared import log, metrics, settings
from shared.engines import wake
from shared.errors import BadRequest
from shared.middleware import RequestMiddleware, refusal

EXPECTED = "an event of an HTTP API or a function URL, payload format 2.0"


class _ForeignEvent(Exception):
    """The event is not a request of payload format 2.0.

    The message has the first difference only.
    """


def handler_of(app: RequestMiddleware) -> Callable[[Any, Any], Any]:
    """The app as a Lambda function behind an HTTP API or a function URL."""
    use_own_loop()
    adapter = Mangum(app, lifespan="off")

    def handler(event: Any, context: Any) -> Any:
        use_own_loop()
        if event == wake.EVENT:
            asyncio.get_event_loop().run_until_complete(wake.warm())
            metrics.note_wake_up()
            return {"statusCode": 204}
        try:
            request = _readable(event)
        except _ForeignEvent as difference:
            return _refused(str(difference))
        return adapter(request, context)

    return handler


def job_of(
    work: Callable[[float], Coroutine[Any, Any, Mapping[str, Any]]],
) -> Callable[[Any, Any], Mapping[str, Any]]:
    """A job as a Lambda function that a schedule invokes.

    `work` gets the seconds after which Lambda ends the invocation.
    """

    def handler(event: Any, context: Any) -> Mapping[str, Any]:
        use_own_loop()
        left_seconds = context.get_remaining_time_in_millis() / 1000
        return asyncio.get_event_loop().run_until_complete(work(left_seconds))

    return handler


def _readable(event: Any) -> dict[str, Any]:
    """Return the event for Mangum. Raises _ForeignEvent if Mangum could not read it correctly."""
    about = _part(event, "requestContext", dict)
    if event.get("version") != "2.0":
        raise _ForeignEvent("version is not 2.0")
    http = _part(about, "http", dict)
    for name in ("method", "sourceIp"):
        _part(http, name, str)
    headers = _part(event, "headers", dict)
    if not all(isinstance(value, str) for value in headers.values()):
        raise _ForeignEvent("a header is not text")
    cookies = event.get("cookies") or []
    if not (isinstance(cookies, list) and all(isinstance(value, str) for value in cookies)):
        raise _ForeignEvent("cookies is not a list of texts")
    path = _encoded_path(_part(event, "rawPath", str), _part(about, "domainName", str))
    return {
        **event,
        "requestContext": {**about, "http": {**http, "path": path}},
        "body": _body(event),
        "isBase64Encoded": False,
    }


def _part(whole: Any, name: str, kind: type) -> Any:
    if isinstance(whole, dict):
        part = whole.get(name)
    else:
        part = None
    if not isinstance(part, kind):
        raise _ForeignEvent(f"{name} is missing or of another type")
    return part


def _body(event: Any) -> bytes:
    """Decode the body. Mangum would skip characters that are not base64, and so change the body."""
    body = event.get("body") or ""
    if not isinstance(body, str):
        raise _ForeignEvent("body is not text")
    if not event.get("isBase64Encoded"):
        return body.encode(errors="surrogatepass")
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise _ForeignEvent("body is not base64, but isBase64Encoded is true") from None


def _refused(difference: str) -> dict[str, Any]:
    """The reply to a foreign event. REST APIs and load balancers read the same four keys."""
    log.at(settings.load().log_level).warning(
        "foreign event", expected=EXPECTED, difference=difference
    )
    answer = refusal(
        BadRequest(
            f"this function expects {EXPECTED}: {difference}; see sample_events/ for examples"
        )
    )
    return {
        "statusCode": answer.status_code,
        "headers": {"content-type": answer.headers["content-type"]},
        "body": bytes(answer.body).decode(),
        "isBase64Encoded": False,
    }


def _encoded_path(path: str, domain_name: str) -> str:
    """The path for Mangum, which decodes it, so that it is decoded exactly once.

    A file name may contain `%25`. An HTTP API sends the path decoded; a function URL sends it as
    the client wrote it.
    """
    if ".lambda-url." in domain_name:
        return path
    return quote(path, errors="replace")


_thread = threading.local()


def use_own_loop() -> None:
    """Give this thread one event loop for all invocations.

    Mangum uses the current loop, and any `asyncio.run` in the process leaves the thread without
    one.
    """
    if not hasattr(_thread, "loop"):
        _thread.loop = asyncio.new_event_loop()
    asyncio.set_event_loop(_thread.loop)
