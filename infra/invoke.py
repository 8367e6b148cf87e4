"""One function as Lambda runs it: `python -m infra.invoke push sample_events/push.json`.

AWS's runtime interface emulator and AWS's runtime client run the code in `build/host`, in an
environment of its own. DynamoDB and S3 are embedded. They contain the repository `me/song` before
the function gets the event. An event contains no secrets: `${TOKEN}`, `${TOKEN_ID}` and
`${REPO_ID}` are placeholders, which this module fills in.
"""

import argparse
import base64
import importlib
import json
import os
import string
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from infra import build, emulated_hub, ports, tools

EVENTS = Path(__file__).parent.parent / "sample_events"
WORLD = ("push", "tags", "releases", "members-put", "tokens", "domains")
"""The events that create the data for the other events, in this order."""
ANSWER_SECONDS = 60
START_SECONDS = 30


class Answer(NamedTuple):
    """The reply of a function, as the HTTP API sends it to the client."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Failed(Exception):
    """The function failed, or the platform refused its reply.

    Or a request that creates data was refused.
    """


def main(arguments: list[str] | None = None) -> int:
    """Invoke and print.

    Returns the exit status: 1 if the function did not succeed, 2 if it could not be invoked.
    """
    parser = argparse.ArgumentParser(
        prog="python -m infra.invoke", description="One function as Lambda runs it."
    )
    parser.add_argument("function", help="its file in functions/, without .py")
    parser.add_argument("event", type=Path, help="an event of the HTTP API, as in sample_events/")
    options = parser.parse_args(arguments)
    if f"functions.{options.function}" not in build.handlers(build.HOST):
        print(
            f"pieria: there is no function {options.function}; see functions/ for their names",
            file=sys.stderr,
        )
        return 2
    if not options.event.is_file():
        print(f"pieria: there is no event {options.event}; see sample_events/", file=sys.stderr)
        return 2
    try:
        with world() as place, runtime(options.function) as invoke:
            answer = invoke(filled(options.event.read_text(), place))
    except tools.Unable as problem:
        print(f"pieria: {problem}", file=sys.stderr)
        return 2
    except Failed as problem:
        print(f"pieria: {problem}", file=sys.stderr)
        return 1
    print(
        answer.status, *(f"{name}: {value}" for name, value in answer.headers.items()), "", sep="\n"
    )
    print(readable(answer))
    return int(not is_success(answer))


@contextmanager
def world() -> Iterator[dict[str, str]]:
    """An embedded AWS with `me/song`. Yields the values of the placeholders.

    The environment of this process points to it from then on.
    """
    with emulated_hub.opened() as keys:
        os.environ["PIERIA_LOG_LEVEL"] = (
            "WARNING"  # no log lines for the requests that create the data
        )
        place = seeded(keys)
        del os.environ["PIERIA_LOG_LEVEL"]
        yield place


def seeded(keys: Mapping[str, str]) -> dict[str, str]:
    """Create the repository of the events by calls of handlers in this process.

    Returns the placeholders' values.
    """
    from shared import auth
    from shared.http import browser
    from shared.model import Identity, Role

    identity = Identity("me", Role.ADMIN, str(uuid.uuid4()))
    token = auth.issue(keys, identity, lifetime_seconds=3600, now=int(time.time()))
    session = auth.issue(
        keys,
        replace(identity, token_id=str(uuid.uuid4())),
        lifetime_seconds=3600,
        now=int(time.time()),
        type=auth.SESSION,
    )
    place = {"TOKEN": token, "SESSION": session, "FORM": browser.form_token(session)}
    place |= {"TOKEN_ID": "", "REPO_ID": ""}
    made = {name: in_process(name, place) for name in WORLD}
    in_process("repos", place)
    # A deleted repository `me/album`, to be restored.
    deletion = (EVENTS / "repos-delete.json").read_text().replace("song", "album")
    _handled("repos", filled(deletion, place))
    place["TOKEN_ID"] = json.loads(made["tokens"].body)["token_id"]
    place["REPO_ID"] = json.loads(in_process("refs", place, accept="application/json").body)[
        "repo_id"
    ]
    return place


def in_process(name: str, place: Mapping[str, str], **headers: str) -> Answer:
    """The reply of the handler in this process to an event of `sample_events/`.

    Raises Failed for a refusal.
    """
    event = filled((EVENTS / f"{name}.json").read_text(), place)
    event["headers"] |= headers
    return _handled(name, event)


def _handled(name: str, event: Mapping[str, Any]) -> Answer:
    answer = decoded(importlib.import_module(f"functions.{function_of(name)}").handler(event, None))
    if not is_success(answer):
        raise Failed(
            f"{name} was answered {answer.status}: {answer.body[:300].decode(errors='replace')}"
        )
    return answer


def is_success(answer: Answer) -> bool:
    """Whether the request was carried out. A form that was carried out leads to another page."""
    location = answer.headers.get("location", "")
    return answer.status < 300 or (answer.status == 303 and "/-/sign-in" not in location)


def function_of(name: str) -> str:
    """The function of an event: `tags` for `tags-list` and for `tags`."""
    return name.partition("-")[0]


def filled(event: str, place: Mapping[str, str]) -> dict[str, Any]:
    """The event with its placeholders filled in."""
    found: dict[str, Any] = json.loads(string.Template(event).safe_substitute(place))
    return found


def decoded(reply: Mapping[str, Any]) -> Answer:
    """A function's reply as the HTTP API passes it on."""
    body = reply.get("body") or ""
    if reply.get("isBase64Encoded"):
        content = base64.b64decode(body)
    else:
        content = body.encode()
    return Answer(reply["statusCode"], reply.get("headers", {}), content)


def readable(answer: Answer) -> str:
    """The body as text: msgpack and JSON as indented JSON."""
    kind = answer.headers.get("content-type", "")
    if "json" not in kind and "msgpack" not in kind:
        return answer.body.decode(errors="replace")
    import msgpack

    if "msgpack" in kind:
        value = msgpack.unpackb(answer.body)
    else:
        value = json.loads(answer.body)
    return json.dumps(
        value, indent=2, ensure_ascii=False, default=lambda raw: raw.decode(errors="replace")
    )


@contextmanager
def runtime(function: str, **variables: str) -> Iterator[Callable[[Mapping[str, Any]], Answer]]:
    """A function in AWS's runtime emulator. Yields a function that invokes it with an event, one
    call at a time.

    Its log lines go to stderr when it ends. Its environment contains the variables of Lambda, the
    literal values of the template, this process's variables `AWS_*` and `PIERIA_*`, and
    `variables`. A call raises Failed if the platform refuses: for example a reply that is too
    large, or a time-out.
    """
    python = tools.environment("runtime", build.host_python()) / "python"
    port = ports.free()
    asked = f"127.0.0.1:{port}"
    command = [str(tools.runtime_emulator()), "--log-level", "error"]
    command += [
        "--runtime-interface-emulator-address",
        asked,
        "--runtime-api-address",
        f"127.0.0.1:{ports.free()}",
    ]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [*command, python, "-m", "awslambdaric", f"functions.{function}.handler"],
            cwd=build.HOST,
            env=_environment(function) | variables,
            stdout=log,
            stderr=log,
        )
        try:
            if not ports.is_ready(process, port, within_seconds=START_SECONDS):
                raise Failed(f"the runtime emulator does not listen on {asked}")
            yield lambda event: _invoke(asked, event)
        finally:
            process.terminate()
            process.wait()
            log.seek(0)
            sys.stderr.write(log.read())


def _invoke(address: str, event: Mapping[str, Any]) -> Answer:
    url = f"http://{address}/2015-03-31/functions/function/invocations"
    request = urllib.request.Request(url, json.dumps(event).encode())
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as reply:  # noqa: S310
            found = json.load(reply)
    except urllib.error.HTTPError as refused:
        raise Failed(refused.read().decode(errors="replace")) from None
    if "statusCode" not in found:
        raise Failed(f"the function failed: {json.dumps(found)[:2000]}")
    return decoded(found)


def _environment(function: str) -> dict[str, str]:
    from infra import stack  # late: it imports boto3, which must not use the user's AWS account

    template = stack.document()
    common = template["Globals"]["Function"]
    handlers = (found.get("Properties", {}) for found in template["Resources"].values())
    own = next(
        found for found in handlers if found.get("Handler") == f"functions.{function}.handler"
    )
    properties = common | own
    variables = common["Environment"]["Variables"] | own.get("Environment", {}).get("Variables", {})
    passed = {
        name: value for name, value in os.environ.items() if name.startswith(("AWS_", "PIERIA_"))
    }
    return {
        "PATH": os.defpath,
        "LANG": "en_US.UTF-8",
        # The template takes other values from its parameters and resources; here this process has
        # them.
        **{name: str(value) for name, value in variables.items() if not isinstance(value, dict)},
        **passed,
        "AWS_REGION": passed["AWS_DEFAULT_REGION"],
        "AWS_LAMBDA_FUNCTION_NAME": function,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(properties["MemorySize"]),
        "AWS_LAMBDA_FUNCTION_TIMEOUT": str(properties["Timeout"]),
        "LAMBDA_TASK_ROOT": str(build.HOST),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


if __name__ == "__main__":
    sys.exit(main())
