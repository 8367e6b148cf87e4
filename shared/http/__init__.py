"""HTTP: the part of a request that is the same for every endpoint.

app             `create_app`: an ASGI app of routers
error_handlers  the reply to an exception
access          FastAPI dependencies: the caller may read, write or administer the repository
                (the rules are in shared/authorization.py)
requests        the body, the query and the path of a request
replies         values as JSON or msgpack, entity tags, cache headers

The names below are the interface for functions/.
"""

from shared.authorization import Access, Caller, Visitor
from shared.http.access import (
    identified,
    may_admin,
    may_admin_by_any_name,
    may_read,
    may_read_by_id,
    may_read_with_token,
    may_write,
    visiting,
)
from shared.http.app import create_app
from shared.http.replies import reply, reply_records, revalidated, unless_held
from shared.http.requests import (
    API_BYTES,
    BY_RELAY,
    ID_LIST_BYTES,
    IN_STEPS,
    body,
    decoded,
    query,
    received,
    rest_of_path,
)

__all__ = [
    "API_BYTES",
    "BY_RELAY",
    "ID_LIST_BYTES",
    "IN_STEPS",
    "Access",
    "Caller",
    "Visitor",
    "body",
    "create_app",
    "decoded",
    "identified",
    "may_admin",
    "may_admin_by_any_name",
    "may_read",
    "may_read_by_id",
    "may_read_with_token",
    "may_write",
    "query",
    "received",
    "reply",
    "reply_records",
    "rest_of_path",
    "revalidated",
    "unless_held",
    "visiting",
]
