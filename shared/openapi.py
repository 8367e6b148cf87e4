"""The hub's OpenAPI document, from its routers.

Routes of the API describe themselves with `api.documented`. Routes of the wire protocol are
described here, so that their functions need not import the models. A route without a description
gets generic responses.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from shared import api, views, wire
from shared.api import Told
from shared.errors import (
    AmbiguousCommit,
    BranchClash,
    CommitNotFound,
    Damaged,
    Forbidden,
    HandleTaken,
    HashMismatch,
    InvalidName,
    MissingReference,
    NotFastForward,
    NotPortable,
    ObjectNotFound,
    PathNotFound,
    RangeNotSatisfiable,
    RefNotFound,
    ReleaseExists,
    ReleaseNotFound,
    RepoNotFound,
    StagedBodyInvalid,
    TagExists,
    TagNotFound,
    UploadsPending,
)

ABOUT = """A pay-per-request hub for the Muse version control system.

The API for people and tools is under `/api/v1`; everything else is the wire protocol of `muse`. Bodies are JSON or
msgpack (`application/x-msgpack`), by Content-Type and Accept; errors are always JSON. Lists have pages: send
`next_cursor` back as `cursor`. Each path with GET supports HEAD, and each path supports OPTIONS."""

METHODS = {"get", "put", "post", "delete", "patch"}


class Health(Told):
    """The process is running."""

    status: Literal["ok"]


class Refs(Told):
    """The branches of a repository, name to commit."""

    repo_id: str
    domain: str
    default_branch: str
    branch_heads: dict[str, str]


class Missing(Told):
    """Ids of objects that the hub does not have."""

    missing: list[str]


class Presigned(Told):
    """URLs for PUT by object id; and ids of objects to send with `push/objects` instead."""

    presigned: dict[str, str]
    inline: list[str]


class Staged(Told):
    """A URL for the PUT of a request body, and the reference to send instead of the body."""

    url: str
    reference: str
    expires_in_seconds: int


class Stored(Told):
    """The numbers of objects that were stored and that were stored before."""

    stored: int
    skipped: int


class Pushed(Told):
    """The branches after a push."""

    ok: bool
    message: str
    branch_heads: dict[str, str]
    remote_head: str


class Negotiated(Told):
    """The common commits, and whether they suffice for a fetch."""

    ack: list[str]
    common_base: str | None
    ready: bool


class Fetched(Told):
    """Commits, snapshots and objects. In JSON, `encoding` is base64 for binary content."""

    commits: list[dict[str, Any]]
    snapshots: list[dict[str, Any]]
    objects: list[dict[str, Any]]
    branch_heads: dict[str, str]


class HistoryStep(Told):
    """The oldest commits that the client does not have, their snapshots, and object sizes by id."""

    commits: list[dict[str, Any]]
    snapshots: list[dict[str, Any]]
    objects: dict[str, int]
    branch_heads: dict[str, str]
    is_complete: bool


class FetchedObjects(Told):
    """Objects as in a fetch; ids to request again; and ids of objects to read with GET objects."""

    objects: list[dict[str, Any]]
    left: list[str]
    large: list[str]


class Published(Told):
    """The release, by its id."""

    release_id: str


class Releases(Told):
    """Releases, newest first."""

    releases: list[dict[str, Any]]
    next_cursor: str = ""


class Retracted(Told):
    """The tag of the retracted release, which may be used again."""

    retracted: str


class StoredTags(Told):
    """The number of new tags."""

    stored: int


class Tags(Told):
    """Tags."""

    tags: list[dict[str, Any]]
    next_cursor: str = ""


class DeletedTag(Told):
    """The id of the deleted tag."""

    deleted: str


_NOT_MODIFIED = {"description": "The client already has this content (If-None-Match)."}


def _cacheable(gives: type[BaseModel]) -> dict[str, Any]:
    """The responses of a route that has an entity tag."""
    return {"200": api.success(gives), "304": _NOT_MODIFIED}


_FILE: dict[str, Any] = {"*/*": {"schema": {"type": "string", "format": "binary"}}}
_FILES: dict[str, Any] = {
    "200": {"description": "The bytes.", "content": _FILE},
    "206": {"description": "The requested range.", "content": _FILE},
    "304": _NOT_MODIFIED,
    "307": {
        "description": "The content is too large for this reply; read it from the URL in Location."
    },
}

WIRE: Mapping[str, dict[str, Any]] = {
    "get_health": api.documented(gives=Health, identity="ignored"),
    "get_refs": api.documented(RepoNotFound, replies=_cacheable(Refs), identity="welcome"),
    "post_fetch": api.documented(
        RepoNotFound,
        CommitNotFound,
        InvalidName,
        Damaged,
        takes=wire.Fetch,
        gives=Fetched,
        identity="welcome",
    ),
    "post_fetch_history": api.documented(
        RepoNotFound,
        CommitNotFound,
        InvalidName,
        Damaged,
        takes=wire.FetchHistory,
        gives=HistoryStep,
        identity="welcome",
    ),
    "post_fetch_objects": api.documented(
        RepoNotFound,
        ObjectNotFound,
        InvalidName,
        Damaged,
        takes=wire.FetchObjects,
        gives=FetchedObjects,
        identity="welcome",
    ),
    "post_negotiate": api.documented(
        RepoNotFound,
        CommitNotFound,
        InvalidName,
        Damaged,
        takes=wire.Negotiate,
        gives=Negotiated,
        identity="welcome",
    ),
    "post_filter_objects": api.documented(
        RepoNotFound, InvalidName, takes=wire.FilterObjects, gives=Missing
    ),
    "post_presign": api.documented(
        Forbidden, RepoNotFound, HandleTaken, InvalidName, takes=wire.Presign, gives=Presigned
    ),
    "post_staging": api.documented(
        Forbidden, RepoNotFound, HandleTaken, takes=wire.Stage, gives=Staged
    ),
    "post_push_objects": api.documented(
        Forbidden,
        RepoNotFound,
        HandleTaken,
        HashMismatch,
        InvalidName,
        StagedBodyInvalid,
        takes=wire.PushObjects,
        gives=Stored,
    ),
    "post_push": api.documented(
        Forbidden,
        StagedBodyInvalid,
        RepoNotFound,
        NotFastForward,
        HandleTaken,
        BranchClash,
        HashMismatch,
        InvalidName,
        MissingReference,
        NotPortable,
        UploadsPending,
        Damaged,
        takes=wire.Push,
        gives=Pushed,
    ),
    "post_release": api.documented(
        Forbidden,
        RepoNotFound,
        ReleaseExists,
        InvalidName,
        MissingReference,
        takes=wire.PostRelease,
        gives=Published,
        status=201,
    ),
    "get_releases": api.documented(
        RepoNotFound, asks=wire.ListReleases, gives=Releases, identity="welcome"
    ),
    "delete_release": api.documented(Forbidden, RepoNotFound, ReleaseNotFound, gives=Retracted),
    "post_tags": api.documented(
        Forbidden,
        RepoNotFound,
        TagExists,
        InvalidName,
        MissingReference,
        takes=wire.PostTags,
        gives=StoredTags,
    ),
    "get_tags": api.documented(RepoNotFound, asks=wire.ListTags, gives=Tags, identity="welcome"),
    "delete_tag": api.documented(Forbidden, RepoNotFound, TagNotFound, gives=DeletedTag),
    "get_object": api.documented(
        RepoNotFound,
        ObjectNotFound,
        RangeNotSatisfiable,
        Damaged,
        replies=_FILES,
        identity="welcome",
    ),
    "get_object_by_repo_id": api.documented(
        RepoNotFound,
        ObjectNotFound,
        RangeNotSatisfiable,
        Damaged,
        replies=_FILES,
        identity="welcome",
    ),
    "get_raw": api.documented(
        RepoNotFound,
        RefNotFound,
        PathNotFound,
        AmbiguousCommit,
        RangeNotSatisfiable,
        Damaged,
        replies=_FILES,
        identity="welcome",
    ),
}
"""The descriptions of wire routes, by the name of their function."""


def document(routers: Iterable[APIRouter]) -> dict[str, Any]:
    """Build one OpenAPI document of all these routes."""
    app = FastAPI(generate_unique_id_function=lambda route: route.name)
    for router in routers:
        app.include_router(router)
    made = get_openapi(title="pieria", version="1", description=ABOUT, routes=app.routes)
    parts = made.setdefault("components", {})
    parts["schemas"] = {**parts.get("schemas", {}), **_schemas()}
    parts["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    }
    for path, operation in _operations(made):
        described = WIRE.get(operation["operationId"])
        if described:
            operation |= described["openapi_extra"]
        _complete(path, operation)
    return made


def _complete(path: str, operation: dict[str, Any]) -> None:
    """Add parameters that FastAPI does not know, and replace its own description of errors by
    ours.
    """
    parameters = operation.setdefault("parameters", [])
    for name in set(re.findall(r"{(\w+)}", path)) - {parameter["name"] for parameter in parameters}:
        parameters.append(
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        )
    query = operation.pop(api.QUERY, None)
    if query:
        parameters.extend(_parameters(_models()[query]))
    responses = operation["responses"]
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]
    if "security" not in operation:  # a route without a description
        operation["security"] = api.SECURITY["welcome"]
        responses["default"] = api.refusal("Any code of docs/errors.md.")


def _operations(made: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in made["paths"].items():
        yield from ((path, operation) for method, operation in item.items() if method in METHODS)


def _parameters(model: type[BaseModel]) -> Iterator[dict[str, Any]]:
    schema = model.model_json_schema()
    required = schema.get("required", ())
    for name, field in schema["properties"].items():
        yield {"name": name, "in": "query", "required": name in required, "schema": field}


def _models() -> dict[str, type[BaseModel]]:
    """All models that a description can refer to, by name."""
    found = {**vars(wire), **vars(api), **vars(views), **globals()}
    return {
        name: thing
        for name, thing in found.items()
        if isinstance(thing, type) and issubclass(thing, BaseModel) and thing.model_fields
    }


def _schemas() -> dict[str, Any]:
    models: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        (model, "validation") for model in _models().values()
    ]
    _, schema = models_json_schema(models, ref_template="#/components/schemas/{model}")
    definitions: dict[str, Any] = schema["$defs"]
    return definitions
