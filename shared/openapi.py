"""The hub's OpenAPI document, from its routers.

Routes of the API describe themselves with `operation.documented`. Routes of the wire protocol are
described here, so that their functions need not import the models. A route without a description
gets generic responses.
"""

import importlib
import pkgutil
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import JsonSchemaMode
from typing_extensions import is_typeddict

from shared import protocol
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
from shared.protocol import operation
from shared.protocol.fetch import (
    Fetch,
    Fetched,
    FetchedObjects,
    FetchHistory,
    FetchObjects,
    HistoryStep,
    Negotiate,
    Negotiated,
)
from shared.protocol.hub import Health
from shared.protocol.push import (
    FilterObjects,
    MissingObjects,
    Presign,
    Presigned,
    Push,
    Pushed,
    PushObjects,
    Stage,
    Staged,
    StoredObjects,
)
from shared.protocol.refs import Refs
from shared.protocol.releases import (
    ListReleases,
    PostRelease,
    PublishedRelease,
    ReleasePage,
    RetractedRelease,
)
from shared.protocol.tags import DeletedTag, ListTags, PostTags, StoredTags, TagPage

ABOUT = """A pay-per-request hub for the Muse version control system.

The API for people and tools is under `/api/v1`; everything else is the wire protocol of `muse`. Bodies are JSON or
msgpack (`application/x-msgpack`), by Content-Type and Accept; errors are always JSON. Lists have pages: send
`next_cursor` back as `cursor`. Each path with GET supports HEAD, and each path supports OPTIONS."""

METHODS = {"get", "put", "post", "delete", "patch"}


_NOT_MODIFIED = {"description": "The client already has this content (If-None-Match)."}


def _cacheable(gives: type[Any]) -> dict[str, Any]:
    """The responses of a route that has an entity tag."""
    return {"200": operation.success(gives), "304": _NOT_MODIFIED}


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
    "get_health": operation.documented(gives=Health, identity="ignored"),
    "get_refs": operation.documented(RepoNotFound, replies=_cacheable(Refs), identity="welcome"),
    "post_fetch": operation.documented(
        RepoNotFound,
        CommitNotFound,
        InvalidName,
        Damaged,
        takes=Fetch,
        gives=Fetched,
        identity="welcome",
    ),
    "post_fetch_history": operation.documented(
        RepoNotFound,
        CommitNotFound,
        InvalidName,
        Damaged,
        takes=FetchHistory,
        gives=HistoryStep,
        identity="welcome",
    ),
    "post_fetch_objects": operation.documented(
        RepoNotFound,
        ObjectNotFound,
        InvalidName,
        Damaged,
        takes=FetchObjects,
        gives=FetchedObjects,
        identity="welcome",
    ),
    "post_negotiate": operation.documented(
        RepoNotFound,
        CommitNotFound,
        InvalidName,
        Damaged,
        takes=Negotiate,
        gives=Negotiated,
        identity="welcome",
    ),
    "post_filter_objects": operation.documented(
        RepoNotFound, InvalidName, takes=FilterObjects, gives=MissingObjects
    ),
    "post_presign": operation.documented(
        Forbidden, RepoNotFound, HandleTaken, InvalidName, takes=Presign, gives=Presigned
    ),
    "post_staging": operation.documented(
        Forbidden, RepoNotFound, HandleTaken, takes=Stage, gives=Staged
    ),
    "post_push_objects": operation.documented(
        Forbidden,
        RepoNotFound,
        HandleTaken,
        HashMismatch,
        InvalidName,
        StagedBodyInvalid,
        takes=PushObjects,
        gives=StoredObjects,
    ),
    "post_push": operation.documented(
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
        takes=Push,
        gives=Pushed,
    ),
    "post_release": operation.documented(
        Forbidden,
        RepoNotFound,
        ReleaseExists,
        InvalidName,
        MissingReference,
        takes=PostRelease,
        gives=PublishedRelease,
        status=201,
    ),
    "get_releases": operation.documented(
        RepoNotFound, asks=ListReleases, gives=ReleasePage, identity="welcome"
    ),
    "delete_release": operation.documented(
        Forbidden, RepoNotFound, ReleaseNotFound, gives=RetractedRelease
    ),
    "post_tags": operation.documented(
        Forbidden,
        RepoNotFound,
        TagExists,
        InvalidName,
        MissingReference,
        takes=PostTags,
        gives=StoredTags,
    ),
    "get_tags": operation.documented(
        RepoNotFound, asks=ListTags, gives=TagPage, identity="welcome"
    ),
    "delete_tag": operation.documented(Forbidden, RepoNotFound, TagNotFound, gives=DeletedTag),
    "get_object": operation.documented(
        RepoNotFound,
        ObjectNotFound,
        RangeNotSatisfiable,
        Damaged,
        replies=_FILES,
        identity="welcome",
    ),
    "get_object_by_repo_id": operation.documented(
        RepoNotFound,
        ObjectNotFound,
        RangeNotSatisfiable,
        Damaged,
        replies=_FILES,
        identity="welcome",
    ),
    "get_raw": operation.documented(
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
    for path, made_operation in _operations(made):
        described = WIRE.get(made_operation["operationId"])
        if described:
            made_operation |= described["openapi_extra"]
        _complete(path, made_operation)
    return made


def _complete(path: str, described: dict[str, Any]) -> None:
    """Add parameters that FastAPI does not know, and replace its own description of errors by
    ours.
    """
    parameters = described.setdefault("parameters", [])
    for name in set(re.findall(r"{(\w+)}", path)) - {parameter["name"] for parameter in parameters}:
        parameters.append(
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        )
    query = described.pop(operation.QUERY, None)
    if query:
        parameters.extend(_parameters(models()[query]))
    responses = described["responses"]
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]
    if "security" not in described:  # a route without a description
        described["security"] = operation.SECURITY["welcome"]
        responses["default"] = operation.refusal("Any code of docs/errors.md.")


def _operations(made: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in made["paths"].items():
        yield from ((path, operation) for method, operation in item.items() if method in METHODS)


def _parameters(model: type[BaseModel]) -> Iterator[dict[str, Any]]:
    schema = model.model_json_schema()
    required = schema.get("required", ())
    for name, field in schema["properties"].items():
        yield {"name": name, "in": "query", "required": name in required, "schema": field}


def models() -> dict[str, Any]:
    """All requests and replies, by name."""
    modules = [
        importlib.import_module(f"{protocol.__name__}.{found.name}")
        for found in pkgutil.iter_modules(protocol.__path__)
    ]
    return {
        name: model
        for module in modules
        for name, model in vars(module).items()
        if getattr(model, "__module__", "") == module.__name__
        and (is_typeddict(model) or (isinstance(model, type) and issubclass(model, BaseModel)))
    }


def _schemas() -> dict[str, Any]:
    inputs: list[tuple[str, JsonSchemaMode, Any]] = [
        (name, "validation", TypeAdapter(model)) for name, model in models().items()
    ]
    _, schema = TypeAdapter.json_schemas(inputs, ref_template="#/components/schemas/{model}")
    definitions: dict[str, Any] = schema["$defs"]
    return definitions
