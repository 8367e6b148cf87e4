"""The OpenAPI document of the hub, from the routes of all functions: functions/openapi.json.

FastAPI writes the paths and the models of replies. This module adds the contents of
`operation`: the models of bodies and queries. A schema without a reference is left out.
"""

import importlib
import inspect
import json
import pkgutil
import re
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, TypeAdapter
from typing_extensions import is_typeddict

from functions import routers
from infra.version import version
from shared import codec, errors, protocol
from shared.protocol.base import MODEL
from shared.protocol.hub import Error
from shared.protocol.operation import QUERY

ABOUT = """A pay-per-request hub for the Muse version control system.

The API for people and tools is under `/api/v1`; everything else is the wire protocol of `muse`.
Bodies are JSON or msgpack (`application/x-msgpack`), by Content-Type and Accept; errors are always
JSON. Lists have pages: send `next_cursor` back as `cursor`. Each path with GET supports HEAD, and
each path supports OPTIONS."""

METHODS = {"get", "put", "post", "delete", "patch"}
REFERENCE = "#/components/schemas/"


def text() -> str:
    """The document as the content of functions/openapi.json."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


def document() -> dict[str, Any]:
    """The document of all functions with routes."""
    app = FastAPI(generate_unique_id_function=lambda route: route.name)
    for router in routers():
        app.include_router(router)
    made = get_openapi(
        title="pieria",
        version=version(),
        description=ABOUT,
        license_info={"name": "MIT", "identifier": "MIT"},
        servers=[{"url": "/", "description": "the hub that serves this document"}],
        routes=app.routes,
        separate_input_output_schemas=False,
    )
    for path, operation in _operations(made):
        _complete(path, operation)
    schemas = _with_references(made["components"]["schemas"] | _schemas())
    schemas[Error.__name__]["properties"]["code"]["enum"] = error_codes()
    made["components"] = {
        "schemas": {name: schemas[name] for name in _referenced(made["paths"], schemas)},
        "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
    }
    return made


def models() -> dict[str, Any]:
    """All requests, replies and records of the protocol, by name."""
    modules = [
        importlib.import_module(f"{protocol.__name__}.{found.name}")
        for found in pkgutil.iter_modules(protocol.__path__)
    ]
    found: dict[str, Any] = {}
    for module in modules:
        models = inspect.getmembers(module, _is_model)
        found |= {name: model for name, model in models if model.__module__ == module.__name__}
    return found


def error_codes() -> list[str]:
    """The codes of all errors."""
    classes = inspect.getmembers(errors, inspect.isclass)
    return sorted(
        {
            error.code
            for _, error in classes
            if issubclass(error, errors.ApiError) and error is not errors.ApiError
        }
    )


def _is_model(value: Any) -> bool:
    return is_typeddict(value) or (inspect.isclass(value) and issubclass(value, BaseModel))


def _schemas() -> dict[str, Any]:
    """The schemas of all models, by name."""
    adapters = [(name, "validation", TypeAdapter(model)) for name, model in models().items()]
    _, schema = TypeAdapter.json_schemas(adapters, ref_template=REFERENCE + "{model}")  # type: ignore[arg-type]
    definitions: dict[str, Any] = schema["$defs"]
    return definitions


def _with_references(schemas: Mapping[str, Any]) -> dict[str, Any]:
    """The schemas, with a reference for each map that is verified by a model later."""
    named = re.sub(rf'"{MODEL}": "(\w+)"', rf'"$ref": "{REFERENCE}\1"', json.dumps(schemas))
    referring: dict[str, Any] = json.loads(named)
    return referring


def _operations(made: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in made["paths"].items():
        for method, operation in item.items():
            if method in METHODS:
                yield path, operation


def _complete(path: str, operation: dict[str, Any]) -> None:
    """Add the parameters and media types that FastAPI does not know."""
    parameters = operation.setdefault("parameters", [])
    known = {parameter["name"] for parameter in parameters}
    parameters.extend(
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", path)
        if name not in known
    )
    query = operation.pop(QUERY, None)
    if query:
        parameters.extend(_query_parameters(models()[query]))
    for status, response in operation["responses"].items():
        content = response.get("content", {})
        if status.startswith("2") and codec.JSON in content:
            content[codec.MSGPACK] = content[codec.JSON]
    validation = operation["responses"].get("422", {})
    if "HTTPValidationError" in str(validation):
        del operation["responses"]["422"]  # FastAPI's own; this hub does not send it


def _query_parameters(model: type[BaseModel]) -> Iterator[dict[str, Any]]:
    schema = model.model_json_schema()
    required = schema.get("required", ())
    for name, field in schema["properties"].items():
        yield {"name": name, "in": "query", "required": name in required, "schema": field}


def _referenced(paths: Mapping[str, Any], schemas: Mapping[str, Any]) -> list[str]:
    """The names of all schemas that the paths refer to, directly or through other schemas."""
    found: set[str] = set()
    texts = [json.dumps(paths)]
    while texts:
        names = set(re.findall(rf'"\$ref": "{REFERENCE}(\w+)"', texts.pop())) - found
        found |= names
        texts.extend(json.dumps(schemas[name]) for name in names)
    return sorted(found)
