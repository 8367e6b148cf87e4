"""How tests use the hub with a browser: cookies are kept, links and forms are followed.

Not a test module.
"""

from collections.abc import Mapping
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urlsplit

from functions.endpoints import ENDPOINTS
from shared import routing
from tests import client
from tests.client import Answer
from tests.functions.web import ACCEPT, Page, checked

ORIGIN = "https://hub.example"
FORM = "application/x-www-form-urlencoded"
_PATTERNS = [
    (method, routing._pattern(path.replace("+}", ":path}")), endpoint.module)
    for endpoint in reversed(ENDPOINTS)
    for method, _, path in (route.key.partition(" ") for route in endpoint.routes)
    if path
]


class Browser:
    """A browser with its cookies. Each request goes to the function of its path."""

    def __init__(self) -> None:
        self.cookies: dict[str, str] = {}
        self.page: Page
        self.answer: Answer
        self.url = "/"

    def send(
        self, method: str, url: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request. Keeps the cookies of the reply."""
        parts = urlsplit(url)
        sent = {"accept": ACCEPT, "referer": f"{ORIGIN}{self.url}", **(headers or {})}
        if self.cookies:
            sent["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        event = client.event(method, parts.path, body, sent, query=parts.query)
        answer = client.invoke(function_of(method, parts.path), event)
        for line in answer.cookies:
            for name, morsel in SimpleCookie(line).items():
                self.cookies.pop(name, None)
                if morsel["max-age"] != "0":
                    self.cookies[name] = morsel.value
        return answer

    def get(self, url: str, status: int = 200, **headers: str) -> Page:
        """Open a page, and follow redirects."""
        return self._shown("GET", url, b"", status, headers)

    def submit(self, action: str, status: int = 200, **fields: str) -> Page:
        """Fill in the form of the present page with this action, and send it. Follows redirects."""
        return self.post(action, {**self.fields(action), **fields}, status)

    def fields(self, action: str) -> dict[str, str]:
        """The fields of the form of the present page with this action, with their values."""
        return self.page.forms[action]

    def post(self, url: str, fields: Mapping[str, str], status: int = 200, **headers: str) -> Page:
        """Send a form. Follows redirects."""
        sent = {"content-type": FORM, "origin": ORIGIN, "sec-fetch-site": "same-origin", **headers}
        return self._shown("POST", url, urlencode(fields).encode(), status, sent)

    def sign_in(self, user: str, *, next: str = "/", token: str | None = None) -> Page:
        """Sign in with a token of this user, and open the page `next`."""
        self.get(f"/-/sign-in?{urlencode({'next': next})}")
        return self.submit("/-/sign-in", token=token or client.token(user))

    def _shown(
        self, method: str, url: str, body: bytes, status: int, headers: Mapping[str, str]
    ) -> Page:
        answer = self.send(method, url, body, headers)
        for _ in range(5):
            if answer.status != 303:
                break
            url = answer.headers["location"]
            assert url.startswith("/") and not url.startswith("//")
            answer = self.send("GET", url)
        self.page = checked(answer, status)
        self.answer = answer
        self.url = url
        return self.page


def function_of(method: str, path: str) -> str:
    """The function that API Gateway selects for a request."""
    for known, pattern, module in _PATTERNS:
        if known == method and pattern.fullmatch(path):
            return module
    return "health"
