"""The rules of the source tree: the allowed imports, and forbidden contents of files."""

import ast
import inspect
import itertools
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared import errors

ROOT = Path(__file__).parent.parent
MAX_LINES = 460

# ── Arrows ────────────────────────────────────────────────────────────────────────────────────────

PURE = (
    "codec codings conditional ids limits media model names packs patches portable prices progress"
    " refusals tasks units"
)
PURE_PACKAGES = "backports compression msgpack pydantic"
DOMAIN = f"cursors errors metadata objects pushed_bundle stores texts {PURE}"

LAWS = {
    # The module, and all below it: the modules of shared/ and the packages that it may import.
    "functions.health": ("http lambdas protocol routing", "fastapi functions.endpoints"),
    "functions.openapi": ("http lambdas protocol", "fastapi"),
    "functions.__init__": ("", "fastapi functions.endpoints"),
    # The table of endpoints.
    "functions.endpoints": ("", "functions.grants"),
    "functions.grants": ("objects.keys", ""),
    "functions.upkeep": ("engines.selection lambdas maintenance", ""),
    "functions.jwks": ("http lambdas protocol signing", "fastapi"),
    "functions.pages": ("http lambdas web", "fastapi"),
    "functions.account": ("http lambdas web", "fastapi"),
    "functions.exchange": (
        "actions.exchange errors http lambdas model openid.issuers protocol",
        "fastapi",
    ),
    "functions.refs": ("actions engines.wake errors http lambdas model protocol", "fastapi"),
    "functions.repo_settings": ("http lambdas web", "fastapi"),
    "shared.web.route": ("errors http.browser middleware web", "fastapi starlette"),
    "shared.web.account": (
        "actions auth authorization cursors engines.selection errors http metadata model protocol"
        " web",
        "starlette",
    ),
    "shared.web.sign_in": (
        "actions authorization engines.selection errors http model openid settings web",
        "starlette",
    ),
    "shared.openid": ("errors model openid settings", "aiohttp jwt pydantic"),
    "shared.web": (
        "web actions codec conditional cursors errors file_response graph http log_cursors media"
        " metadata model names protocol stores texts",
        "jinja2 markdown_it markupsafe mido nh3 pygments starlette",
    ),
    "functions": (
        "actions cursors errors file_response http lambdas log_cursors metadata model names staging"
        " protocol streaming",
        "fastapi",
    ),
    "shared.pushed_bundle": (f"errors protocol texts {PURE}", PURE_PACKAGES),
    "shared.protocol.__init__": ("", ""),
    "shared.protocol.operation": ("codec errors protocol.hub", "pydantic"),
    "shared.protocol.tokens": ("auth metadata.tokens model protocol", "pydantic"),
    "shared.protocol": (
        "cursors errors model names protocol refusals",
        "pydantic typing_extensions",
    ),
    "shared.meter": ("prices units", ""),
    "shared.metrics": ("", ""),
    "shared.actions.usage": (f"budget prices protocol {DOMAIN}", ""),
    "shared.quotas": ("errors metadata model settings texts", ""),
    "shared.budget": ("errors log meter metadata model prices ratelimit settings tasks", ""),
    "shared.bodies": ("errors", "starlette"),
    "shared.decoding": ("codec codings errors", ""),
    "shared.connection": ("bodies errors middleware", "h11 uvicorn"),
    "shared.middleware": ("bodies codec errors log meter metrics prices settings", "starlette"),
    "shared.authorization": ("auth budget errors model names ratelimit stores tasks", ""),
    "shared.http.__init__": ("authorization http", ""),
    "shared.http.app": ("errors http.error_handlers middleware routing", "fastapi starlette"),
    "shared.http.error_handlers": ("errors middleware", "fastapi starlette"),
    "shared.http.access": (
        "auth authorization engines.selection middleware model ratelimit",
        "fastapi",
    ),
    "shared.http.browser": ("auth authorization errors http", "starlette"),
    "shared.http.oauth": (
        "codec errors http.requests middleware protocol.base",
        "fastapi pydantic starlette",
    ),
    "shared.http.requests": ("decoding errors middleware protocol.base", "fastapi pydantic"),
    "shared.http.replies": ("codec conditional model", "fastapi starlette"),
    "shared.staging": (
        "actions.repos auth errors http objects.quarantine protocol references settings",
        "pydantic starlette",
    ),
    "shared.log_cursors": ("cursors http model", ""),
    "shared.routing": ("errors middleware", "fastapi starlette"),
    "shared.lambdas": ("engines.wake errors log metrics middleware settings", "mangum"),
    "shared.file_response": ("conditional errors media middleware model", "starlette"),
    "shared.streaming": ("codec codings errors", "starlette"),
    "shared.actions.sessions": (f"auth {DOMAIN}", ""),
    "shared.actions.identities": (
        f"actions.sessions signing {DOMAIN}",
        "jwt pydantic",
    ),
    "shared.actions.exchange": (f"actions.tokens openid {DOMAIN}", ""),
    "shared.actions.trusted_issuers": (f"openid.web {DOMAIN}", ""),
    "shared.actions.tokens": (f"auth {DOMAIN}", ""),
    "shared.actions": (f"actions graph protocol {DOMAIN}", "pydantic"),
    "shared.maintenance.upkeep": (f"actions graph log maintenance {DOMAIN}", ""),
    "shared.maintenance": (f"actions graph maintenance protocol {DOMAIN}", "pydantic"),
    "shared.graph.dag": ("errors model", ""),
    "shared.graph": (f"graph {DOMAIN}", ""),
    # On the machine of a user: nothing of AWS, of the functions, or of a web framework.
    "infra.relay": (
        "codec codings errors patches tasks",
        "aiohttp infra.relay msgpack multidict rich yarl",
    ),
    # In the process of any program: nothing of the hub.
    "infra.client": ("", "httpx infra.client"),
    "shared.stores": ("budget keyring limits metadata model objects quotas settings", ""),
    "shared.engines.selection": ("limits engines settings stores", ""),
    "shared.engines": (
        "budget engines errors keyring log meter metadata model objects settings signing stores"
        " tasks",
        "aioboto3 aiobotocore aiohttp botocore msgpack types_aiobotocore_dynamodb"
        " types_aiobotocore_s3",
    ),
    "shared.cursors": ("errors signing", "msgpack"),
    "shared.keyring": ("errors signing", ""),
    "shared.signing": ("", "jwt nacl"),
    "shared.references": ("errors model signing", "jwt pydantic"),
    "shared.auth": ("errors model names signing", "jwt pydantic"),
    "shared.ratelimit": ("errors metadata.expiring model names settings", ""),
    "shared.metadata": (
        "limits metadata codec errors ids model names packs tasks",
        "",
    ),
    "shared.objects": (
        "objects codec errors ids meter model names packs prices tasks",
        "",
    ),
    "shared.settings": ("signing", "pydantic"),
    "shared.log": ("", ""),
    "shared.texts": ("", ""),
    "shared.errors": ("errors texts", ""),
    "shared.__init__": ("", ""),
} | {f"shared.{module}": (f"errors texts {PURE}", PURE_PACKAGES) for module in PURE.split()}
"""An import without an entry is forbidden, except for the standard library: a function cannot
import another function, nor `shared` a module above it.
"""

GATES = {
    "os": {
        "shared.engines.files",
        "shared.engines.wake",
        "shared.settings",
        "infra.relay.address",
        "infra.relay.client",
        "infra.relay.peers",
        "infra.relay.workplace",
    },
    "time": {
        "functions.upkeep",
        "shared.engines.database",
        "shared.engines.files",
        "shared.engines.signed_urls",
        "shared.engines.sqlite",
        "shared.engines.wake",
        "shared.http.access",
        "shared.meter",
        "shared.middleware",
        "infra.relay.progress",
    },
}
"""Where the world outside comes in: the environment and the clock. Below, both are arguments."""


def module_name(path: Path) -> str:
    """`shared/graph/dag.py` → `shared.graph.dag`; a package is `shared.metadata.__init__`."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def is_module(name: str) -> bool:
    """Whether the house has a file or a folder of that dotted name."""
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def imports(module: str, source: str) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import, wherever it stands; `from shared import dag` is
    `shared.graph.dag`.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            folder = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*folder, *(node.module or "").split(".")]).rstrip(".")
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield node.lineno, inner if is_module(inner) else base


def beneath(name: str, tops: list[str]) -> bool:
    """Whether a dotted name is one of `tops` or below one."""
    return any(name == top or name.startswith(f"{top}.") for top in tops)


def breaches(module: str, source: str) -> list[str]:
    """The imports of a module that its law does not allow, as `file:line: what`."""
    law = next((law for who, law in LAWS.items() if beneath(module, [who])), None)
    place = module.replace(".", "/") + ".py"
    if law is None:
        return [f"{place}:1: has no law; give it a line in LAWS"]
    house, others = law
    allowed = [f"shared.{name}" for name in house.split()] + others.split()
    allowed += [name for name in sys.stdlib_module_names if module in GATES.get(name, {module})]
    return [
        f"{place}:{line}: may not import {name}"
        for line, name in imports(module, source)
        if not beneath(name, allowed)
    ]


def python_files(*folders: str) -> list[Path]:
    """Every Python file of these top-level folders."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def test_arrows_point_inward() -> None:
    found = [
        breach
        for path in [
            *python_files("functions", "shared"),
            *(ROOT / "infra" / "relay").rglob("*.py"),
        ]
        for breach in breaches(module_name(path), path.read_text())
    ]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("functions.refs", "import boto3"),
        ("functions.refs", "from functions.push import router"),
        ("functions.refs", "from functions import push"),
        ("functions.refs", "from shared import objects"),
        ("functions.refs", "from . import push"),
        ("functions.refs", "from functions.endpoints import ENDPOINTS"),
        ("functions.endpoints", "from shared import http"),
        ("shared.http.access", "from shared import actions"),
        ("shared.http.replies", "from shared import stores"),
        ("shared.authorization", "from fastapi import Request"),
        ("shared.authorization", "import time"),
        ("shared.actions.push", "from fastapi import Request"),
        ("shared.actions.push", "import time"),
        ("shared.actions.push", "from os import environ"),
        ("shared.actions.push", "def late():\n    import botocore.exceptions"),
        ("shared.metadata.refs", "from shared.objects import __doc__"),
        ("shared.objects.bucket", "from ..metadata import __doc__"),
        ("shared.objects.bucket", "from shared.actions import __doc__"),
        ("shared.auth", "import fastapi"),
        ("shared.graph.dag", "from shared.metadata import __doc__"),
        ("shared.errors", "from shared import names"),
        ("shared.errors", "import pydantic"),
        ("shared.settings", "import tests"),
        ("shared.stores", "import infra"),
        ("shared.nowhere", ""),
        ("infra.relay.hub", "import boto3"),
        ("infra.relay.hub", "from shared import protocol"),
        ("infra.relay.hub", "from infra import serve"),
    ],
)
def test_a_breach_is_seen(module: str, line: str) -> None:
    assert len(breaches(module, line)) == 1


@pytest.mark.parametrize(
    ("module", "line"),
    [
        (
            "functions.refs",
            "from fastapi import APIRouter\nfrom shared import errors\nimport shared.protocol",
        ),
        (
            "shared.actions.push",
            "from shared.actions import __doc__\nfrom . import __doc__\nimport asyncio",
        ),
        ("shared.engines.dynamodb", "from botocore.exceptions import ClientError"),
        ("shared.graph.dag", "from shared import model\nfrom shared.errors import ApiError"),
        ("shared.settings", "import os"),
        ("shared.errors", "from typing import ClassVar"),
        (
            "infra.relay.hub",
            "import aiohttp\nfrom infra.relay.address import Address\nfrom shared import codec",
        ),
    ],
)
def test_an_allowed_import_is_no_breach(module: str, line: str) -> None:
    assert breaches(module, line) == []


# ── Rooms ─────────────────────────────────────────────────────────────────────────────────────────


def test_every_package_has_a_docstring() -> None:
    packages = [
        path
        for path in python_files("functions", "shared", "infra", "tests", "bench")
        if path.stem == "__init__"
    ]
    mute = [
        str(path.relative_to(ROOT))
        for path in packages
        if not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert mute == []


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {
        path.parent for path in python_files("functions", "shared", "infra", "tests", "bench")
    }
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_functions_is_flat_and_each_but_the_table_ends_in_its_handler() -> None:
    for path in python_files("functions"):
        assert path.parent == ROOT / "functions", f"{path} is not flat"
        if path.stem in ("__init__", "endpoints", "grants"):
            continue
        last = ast.parse(path.read_text()).body[-1]
        targets = last.targets if isinstance(last, ast.Assign) else [getattr(last, "target", None)]
        assert [getattr(target, "id", None) for target in targets] == ["handler"], (
            f"{path} ends in something else"
        )


def test_no_module_is_long() -> None:
    lengths = {
        module_name(path): len(path.read_text().splitlines())
        for path in python_files("functions", "shared", "infra")
    }
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}


def test_one_module_composes_the_keys_of_the_bucket() -> None:
    begins_like_a_key = re.compile(r"(repos|uploads)/")
    found = [
        f"{module_name(path)}:{node.lineno}"
        for path in python_files("functions", "shared", "infra")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and begins_like_a_key.match(node.value)
    ]
    keys = "shared.objects.keys:"
    assert [place for place in found if not place.startswith(keys)] == []
    assert len(found) == 2


def test_nothing_is_put_where_things_without_a_name_go() -> None:
    drawer = re.compile(r"(^|[._])(utils?|helpers?|commons?|managers?|misc)([._]|$)")
    names = [
        module_name(path) for path in python_files("functions", "shared", "infra", "tests", "bench")
    ]
    assert [name for name in names if drawer.search(name)] == []


# ── Words ─────────────────────────────────────────────────────────────────────────────────────────


def error_codes() -> list[str]:
    """The code of every error that can be answered: all but the root of the tree."""
    classes = [
        found
        for _, found in inspect.getmembers(errors, inspect.isclass)
        if found.__module__.startswith(errors.__name__)
    ]
    assert [found.__name__ for found in classes if not issubclass(found, errors.ApiError)] == []
    return [
        found.code
        for found in classes
        if issubclass(found, errors.ApiError) and found is not errors.ApiError
    ]


def test_every_error_has_a_status_of_failure() -> None:
    for found in vars(errors).values():
        if inspect.isclass(found) and issubclass(found, errors.ApiError):
            assert 400 <= found.status <= 599, found.__name__


def test_every_error_has_a_code_of_its_own() -> None:
    codes = error_codes()
    assert sorted(codes) == sorted(set(codes))
    assert [code for code in codes if not re.fullmatch(r"[a-z]+(_[a-z]+)*", code)] == []


def test_the_documents_list_every_error_code() -> None:
    page = (ROOT / "docs" / "errors.md").read_text()
    assert [code for code in error_codes() if f"`{code}`" not in page] == []


def test_the_documents_say_why_each_dependency_is_there() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text().lower()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [
        *project["dependencies"],
        *itertools.chain(*project["optional-dependencies"].values()),
    ]
    names = [re.split(r"[^a-z0-9_-]", dependency.lower())[0] for dependency in needed]
    names = [name for name in names if name != project["name"] and not name.startswith("types-")]
    assert [name for name in names if not re.search(rf"\b{re.escape(name)}\b", page)] == []


# ── Traces of one machine ─────────────────────────────────────────────────────────────────────────


def project_files() -> list[Path]:
    """Every file that git tracks or would track."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def test_every_test_and_command_of_the_threat_model_exists() -> None:
    named = set(
        re.findall(
            r"`((?:tests|docs|infra|\.ci)/[\w./-]+|make [\w-]+)`",
            (ROOT / "SECURITY.md").read_text(),
        )
    )
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    there = {
        name for name in named if (ROOT / name).exists() or name.removeprefix("make ") in targets
    }
    assert named == there and len(named) > 20


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    somebodys = re.compile(r"(?<![\w.~])/(work|root|home|Users)/")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path in project_files()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if somebodys.search(line)
    ]
    assert not found, "\n" + "\n".join(found)


def test_the_lock_file_names_versions_and_digests_only() -> None:
    line = re.compile(
        r"[a-z0-9._-]+==\S+( ; [^\\]+)?( \\)?|    --hash=sha256:[0-9a-f]{64}( \\)?|("
        r" {4})?#(?!.*://).*|"
    )
    lock = (ROOT / "requirements.lock").read_text().splitlines()
    assert [text for text in lock if not line.fullmatch(text)] == []


def test_the_wheel_contains_every_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = set(project["tool"]["setuptools"]["packages"])
    folders = [
        file.parent.relative_to(ROOT)
        for top in ("functions", "shared", "infra")
        for file in (ROOT / top).rglob("__init__.py")
    ]
    found = {".".join(("pieria", *folder.parts)) for folder in folders}
    # The folder of an installation is the package `pieria` itself.
    assert packages == found - {"pieria.infra.installed"} | {"pieria"}
