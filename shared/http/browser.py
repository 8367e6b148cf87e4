"""Browsers: sessions in cookies, and the protection of forms.

    __Host-session   the token of the session, HttpOnly: the signed-in user
    __Host-form      a random text, HttpOnly: binds the form to sign in, before there is a session
    __Host-attempt   the sign-in through a provider that this browser began, HttpOnly
    __Host-identity  the user whom the provider verified, signed, HttpOnly: until a handle is chosen

A browser accepts a `__Host-` cookie only from the host itself and only with `Secure`, so neither
another host of the domain nor a network can set one. Browsers treat http://localhost like HTTPS.
On every other address without TLS a cookie could be read on the way, so it is neither set nor
accepted there.

A form has a hash of the cookie that it is bound to. Another site cannot read the cookie, so it
cannot make such a form. A submission that names another origin is refused, too.
"""

import hmac
import ipaddress
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from shared import auth
from shared.authorization import Credentials
from shared.errors import Forbidden, Unauthorized
from shared.http import access, requests

SESSION = "__Host-session"
FORM = "__Host-form"
ATTEMPT = "__Host-attempt"
IDENTITY = "__Host-identity"
TOKEN_FIELD = "form"  # noqa: S105
"""The name of the field with the hash of the cookie."""
FORM_SECONDS = 3600
URL_CHARACTERS = 2_000
FORM_TYPE = requests.FORM_TYPE
_SENT_BY_OTHERS = (
    "this form is too old, or another site sent it, so nothing was changed; open the page again,"
    " and send the form from there"
)


def is_safe(request: Request) -> bool:
    """Whether a cookie is safe on this connection: it uses TLS, or does not leave the machine."""
    if request.url.scheme == "https":
        return True
    host = request.url.hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def session(request: Request) -> str | None:
    """The token of the session, not verified; None without one."""
    token = request.cookies.get(SESSION)
    return token if token and is_safe(request) else None


def credentials(request: Request) -> Credentials:
    """The bearer token of the request, or else its session."""
    found = access.credentials(request)
    if found.token is not None:
        return found
    return Credentials(session(request), found.address, auth.SESSION)


def by_session(request: Request) -> Credentials:
    """The session of the request. Raises Unauthorized without one."""
    token = session(request)
    if token is None:
        raise Unauthorized("this page needs you to sign in")
    return Credentials(token, access.credentials(request).address, auth.SESSION)


# ── Cookies ─────────────────────────────────────────────────────────────────────────────────────


def require_safety(request: Request) -> None:
    """Raise Forbidden on a connection on which a cookie is not safe."""
    if not is_safe(request):
        raise Forbidden(
            "users cannot sign in over plain HTTP, because others on the network could read the"
            " session; open this hub over https, or on its own machine as http://localhost"
        )


def set_cookie(response: Response, name: str, value: str, seconds: int) -> None:
    """Set one of the cookies for this time."""
    response.set_cookie(
        name, value, max_age=seconds, path="/", secure=True, httponly=True, samesite="lax"
    )


def delete_cookie(response: Response, name: str) -> None:
    """Delete one of the cookies."""
    response.delete_cookie(name, path="/", secure=True, httponly=True, samesite="lax")


# ── Forms ───────────────────────────────────────────────────────────────────────────────────────


def new_form_cookie() -> str:
    """A value of the cookie FORM."""
    return secrets.token_urlsafe(32)


def form_token(cookie: str) -> str:
    """The text that a form bound to this cookie has in its field TOKEN_FIELD."""
    return urlsafe_b64encode(sha256(f"form:{cookie}".encode()).digest()).decode().rstrip("=")


async def submitted(request: Request, cookie: str) -> Mapping[str, str]:
    """The fields of a form that is bound to the cookie of this name.

    Raises Unauthorized without a session that the form needs, Forbidden for a form of another
    site, UnsupportedMedia, MalformedBody or TooLarge.
    """
    require_safety(request)
    _check_origin(request)
    value = request.cookies.get(cookie, "")
    if cookie == SESSION and not value:
        raise Unauthorized("this page needs you to sign in")
    pairs = await requests.form(request)
    fields = {name: value.replace("\r\n", "\n") for name, value in pairs}
    if not value or not _is_equal(fields.get(TOKEN_FIELD, ""), form_token(value)):
        raise Forbidden(_SENT_BY_OTHERS)
    return fields


def local_url(url: str) -> str:
    """The path and query of a URL of this hub, which is safe to redirect to; else `/`.

    Browsers treat a backslash like a slash, remove control characters, and read `//host` as
    another host.
    """
    is_path = url.startswith("/") and not url.startswith("//")
    is_plain = url.isascii() and url.isprintable() and not set(url) & set('\\ "<>^`{|}')
    if is_path and is_plain and len(url) <= URL_CHARACTERS:
        return url
    return "/"


def previous_page(request: Request) -> str:
    """The page of this hub whose link or form led to the request; else `/`."""
    try:
        previous = urlsplit(request.headers.get("referer", ""))
    except ValueError:
        return "/"
    if f"{previous.scheme}://{previous.netloc}" != origin(request):
        return "/"
    return local_url(f"{previous.path}?{previous.query}" if previous.query else previous.path)


def origin(request: Request) -> str:
    """The origin of the hub, as the client wrote it."""
    return f"{request.url.scheme}://{request.url.netloc}"


def _check_origin(request: Request) -> None:
    """Raise Forbidden if the browser names another site as the sender. Some programs name none."""
    named = request.headers.get("origin")
    site = request.headers.get("sec-fetch-site", "same-origin")
    if site != "same-origin" or (named is not None and named != origin(request)):
        raise Forbidden(_SENT_BY_OTHERS)


def _is_equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())
