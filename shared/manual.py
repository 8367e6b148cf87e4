"""The hub's OpenAPI document, from its routers.

Routes of the API tell of themselves (`api.documented`). Those of the wire protocol are told of here, so that
they carry nothing when they start; one that nobody tells of is in the document with what holds for any.
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

Under `/api/v1` is the API for people and tools; everything else is the wire protocol of `muse`. Bodies are JSON or
msgpack (`application/x-msgpack`), by Content-Type and Accept; errors are JSON always. Lists come in pages: send
`next_cursor` back as `cursor`. HEAD is answered wherever GET is, and OPTIONS everywhere."""

METHODS = {"get", "put", "post", "delete", "patch"}


class Health(Told):
    """The hub answers."""

    status: Literal["ok"]


class Refs(Told):
    """Where the branches of a repository are."""

    repo_id: str
    domain: str
    default_branch: str
    branch_heads: dict[str, str]


class Missing(Told):
    """Objects that the hub lacks."""

    missing: list[str]


class Presigned(Told):
    """URLs to PUT objects to, by object id; and ids to send with `push/objects` instead."""

    presigned: dict[str, str]
    inline: list[str]


class Staged(Told):
    """A URL to PUT a request body to within this time, and the reference to send instead of the body."""

    url: str
    reference: str
    expires_in_seconds: int


class Stored(Told):
    """What became of a batch of objects."""

    stored: int
    skipped: int


class Pushed(Told):
    """Where the branches are after a push."""

    ok: bool
    message: str
    branch_heads: dict[str, str]
    remote_head: str


class Negotiated(Told):
    """Which commits are shared, and whether that is enough."""

    ack: list[str]
    common_base: str | None
    ready: bool


class Fetched(Told):
    """Commits, snapshots and objects. In JSON an object's content is text, or base64 and `encoding` says so."""

    commits: list[dict[str, Any]]
    snapshots: list[dict[str, Any]]
    objects: list[dict[str, Any]]
    branch_heads: dict[str, str]


class HistoryStep(Told):
    """The oldest commits that the caller lacks, their snapshots, and the sizes of objects by id."""

    commits: list[dict[str, Any]]
    snapshots: list[dict[str, Any]]
    objects: dict[str, int]
    branch_heads: dict[str, str]
    is_complete: bool


class FetchedObjects(Told):
    """Objects, as in a fetch; ids to ask for again; and ids of objects to read with GET objects."""

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
    """The tag, which may be used again."""

    retracted: str


class StoredTags(Told):
    """How many of the tags are new."""

    stored: int


class Tags(Told):
    """Tags."""

    tags: list[dict[str, Any]]
    next_cursor: str = ""


class DeletedTag(Told):
    """The id."""

    deleted: str


_HELD = {"description": "The caller has it, by If-None-Match."}


def _kept(gives: type[BaseModel]) -> dict[str, Any]:
    """The replies of a route that has an entity tag."""
    return {"200": api.success(gives), "304": _HELD}


_FILE: dict[str, Any] = {"*/*": {"schema": {"type": "string", "format": "binary"}}}
_FILES: dict[str, Any] = {
    "200": {"description": "The bytes.", "content": _FILE},
    "206": {"description": "The range that was asked for.", "content": _FILE},
    "304": _HELD,
    "307": {"description": "They are too many to be sent from here; S3 has them."},
}

WIRE: Mapping[str, dict[str, Any]] = {
    "get_health": api.documented(gives=Health, identity="ignored"),
    "get_refs": api.documented(RepoNotFound, replies=_kept(Refs), identity="welcome"),
    "post_fetch": api.documented(
        RepoNotFound, CommitNotFound, InvalidName, Damaged, takes=wire.Fetch, gives=Fetched, identity="welcome"
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
        RepoNotFound, CommitNotFound, InvalidName, Damaged, takes=wire.Negotiate, gives=Negotiated, identity="welcome"
    ),
    "post_filter_objects": api.documented(RepoNotFound, InvalidName, takes=wire.FilterObjects, gives=Missing),
    "post_presign": api.documented(
        Forbidden, RepoNotFound, HandleTaken, InvalidName, takes=wire.Presign, gives=Presigned
    ),
    "post_staging": api.documented(Forbidden, RepoNotFound, HandleTaken, takes=wire.Stage, gives=Staged),
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
    "get_releases": api.documented(RepoNotFound, asks=wire.ListReleases, gives=Releases, identity="welcome"),
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
        RepoNotFound, ObjectNotFound, RangeNotSatisfiable, Damaged, replies=_FILES, identity="welcome"
    ),
    "get_object_by_repo_id": api.documented(
        RepoNotFound, ObjectNotFound, RangeNotSatisfiable, Damaged, replies=_FILES, identity="welcome"
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
"""What is told of a route here, by the name of its function."""


def document(routers: Iterable[APIRouter]) -> dict[str, Any]:
    """One document of all these routes."""
    app = FastAPI(generate_unique_id_function=lambda route: route.name)
    for router in routers:
        app.include_router(router)
    made = get_openapi(title="pieria", version="1", description=ABOUT, routes=app.routes)
    parts = made.setdefault("components", {})
    parts["schemas"] = {**parts.get("schemas", {}), **_schemas()}
    parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
    for path, operation in _operations(made):
        if told := WIRE.get(operation["operationId"]):
            operation |= told["openapi_extra"]
        _complete(path, operation)
    return made


def _complete(path: str, operation: dict[str, Any]) -> None:
    """Parameters that a route reads by itself; and where FastAPI supposes how failures look, how they look here."""
    parameters = operation.setdefault("parameters", [])
    for name in set(re.findall(r"{(\w+)}", path)) - {parameter["name"] for parameter in parameters}:
        parameters.append({"name": name, "in": "path", "required": True, "schema": {"type": "string"}})
    if asked := operation.pop(api.QUERY, None):
        parameters.extend(_parameters(_shapes()[asked]))
    responses = operation["responses"]
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]
    if "security" not in operation:  # nobody tells of it
        operation["security"] = api.SECURITY["welcome"]
        responses["default"] = api.refusal("Any code of docs/errors.md.")


def _operations(made: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in made["paths"].items():
        yield from ((path, operation) for method, operation in item.items() if method in METHODS)


def _parameters(shape: type[BaseModel]) -> Iterator[dict[str, Any]]:
    schema = shape.model_json_schema()
    for name, what in schema["properties"].items():
        yield {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": what}


def _shapes() -> dict[str, type[BaseModel]]:
    """All that `documented` can name, by name."""
    found = {**vars(wire), **vars(api), **vars(views), **globals()}
    return {
        name: thing
        for name, thing in found.items()
        if isinstance(thing, type) and issubclass(thing, BaseModel) and thing.model_fields
    }


def _schemas() -> dict[str, Any]:
    shapes: list[tuple[type[BaseModel], JsonSchemaMode]] = [(shape, "validation") for shape in _shapes().values()]
    _, schema = models_json_schema(shapes, ref_template="#/components/schemas/{model}")
    definitions: dict[str, Any] = schema["$defs"]
    return definitions
