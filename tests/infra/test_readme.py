"""The lines that a new user copies from the documents, run as they are printed: in bash, beside a
hub.

Only the port differs, and a script stands in for the Muse client, which is not on PyPI.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra import ports, stack

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
OPERATE = (ROOT / "docs" / "operate.md").read_text()

CLIENT = '''#!{python}
"""The commands of the Muse client that the README uses, over its protocol in JSON."""
import base64, hashlib, json, os, pathlib, sys, urllib.request

here, login = pathlib.Path(".muse"), pathlib.Path.home() / ".muse-token"

def ask(url, body=None):
    headers = {{"Content-Type": "application/json", "Accept": "application/json"}}
    if body is not None and login.exists():
        headers["Authorization"] = "Bearer " + login.read_text()
    data = None if body is None else json.dumps(body).encode()
    return json.load(urllib.request.urlopen(urllib.request.Request(url, data, headers)))

match sys.argv[1:]:
    case ["--version"]:
        print("stand-in")
    case ["auth", "login", "--hub", url]:
        login.write_text(os.environ["MUSE_TOKEN"])
    case ["init"]:
        here.mkdir()
    case ["commit", "-m", message]:
        texts = {{path.name: path.read_text() for path in pathlib.Path().iterdir() if path.is_file()}}
        manifest = {{name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}}
        bundle = {{
            "commits": [{{"commit_id": "first", "snapshot_id": "files", "message": message}}],
            "snapshots": [{{"snapshot_id": "files", "manifest": manifest}}],
            "objects": [{{"object_id": manifest[name], "content": texts[name]}} for name in texts],
        }}
        (here / "bundle").write_text(json.dumps(bundle))
    case ["remote", "add", "origin", url]:
        (here / "origin").write_text(url)
    case ["push", "origin", branch]:
        bundle = json.loads((here / "bundle").read_text())
        print(ask((here / "origin").read_text() + "/push", {{"branch": branch, "bundle": bundle}})["message"])
    case ["clone", url, folder]:
        heads = ask(url + "/refs")["branch_heads"]
        login = pathlib.Path("/nowhere")  # as the client clones
        got = ask(url + "/fetch", {{"want": list(heads.values()), "have": []}})
        content = {{found["object_id"]: base64.b64decode(found["content"]) for found in got["objects"]}}
        pathlib.Path(folder).mkdir()
        for name, object_id in got["snapshots"][0]["manifest"].items():
            (pathlib.Path(folder) / name).write_bytes(content[object_id])
    case other:
        sys.exit(f"no such command: {{other}}")
'''


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> int:
    return ports.free()


@pytest.fixture(scope="module")
def checkout(port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that looks like a checkout after `make serve`, beside the hub that this started."""
    folder = tmp_path_factory.mktemp("home") / "pieria"
    for path, text in (
        (folder / ".venv/bin/python", f'#!/bin/sh\nexec {sys.executable} "$@"\n'),
        (folder.parent / ".local/bin/muse", CLIENT.format(python=sys.executable)),
    ):
        path.parent.mkdir(parents=True)
        path.write_text(text)
        path.chmod(0o755)
    command = [sys.executable, "-m", "infra.serve", "--port", str(port)]
    with subprocess.Popen(
        command, cwd=folder, env=environment(folder), stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout and any(
                "HUB READY" in line for line in iter(process.stdout.readline, "")
            )
            yield folder
        finally:
            process.terminate()


def environment(checkout: Path) -> dict[str, str]:
    """The environment of a new user."""
    theirs = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "PIERIA_", "MUSE_"))
    }
    return theirs | {"HOME": str(checkout.parent), "PYTHONPATH": str(ROOT)}


def blocks(text: str) -> list[str]:
    """The blocks of code of a page that a reader copies."""
    return re.findall(r"^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def run(text: str, checkout: Path, port: int, *, skipped: tuple[str, ...] = ()) -> list[str]:
    """The output of the blocks of a page. A block with one of the skipped lines is left out."""
    kept = [block for block in blocks(text) if not any(line in block for line in skipped)]
    assert len(blocks(text)) - len(kept) == len(skipped)
    script = "set -e\nPATH=$HOME/.local/bin:$PATH\n" + "".join(kept).replace(":8000", f":{port}")
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=checkout,
        env=environment(checkout),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "code" not in re.findall(r'"(\w+)":', done.stdout), done.stdout  # a refusal
    return done.stdout.splitlines()


def test_the_first_push_of_the_readme_ends_in_a_clone(checkout: Path, port: int) -> None:
    said = run(README, checkout, port, skipped=("make serve", "uv tool install"))
    assert "main is at first" in said
    assert said[said.index("la la la") + 1] == '{"status":"ok"}'
    assert '"branch_heads":{"main":"first"}' in said[-1]
    assert (checkout.parent / "song-copy" / "verse.txt").read_text() == "la la la\n"


def test_the_tour_of_the_operator_works_after_the_first_push(checkout: Path, port: int) -> None:
    said = run(OPERATE, checkout, port)
    text = "\n".join(said)
    assert [line for line in said if '"remote_head"' in line][-1].endswith(
        '"remote_head":"take-2"}'
    )
    assert "restored: main is at take-1" in text
    assert "alice/demo is whole: 1 commit" in text
    assert "deleted: alice/demo" in text


def test_the_variables_of_sam_local_are_those_that_the_template_takes_from_the_stack(
    tmp_path: Path,
) -> None:
    text = (ROOT / "infra" / "README.md").read_text()
    (block,) = [
        found
        for found in re.findall(r"^```\n(.*?)^```$", text, re.M | re.S)
        if "sam local" in found
    ]
    stubs = "pieria() { echo a-token; }\nsam() { :; }\n"
    variables = stack.document()["Globals"]["Function"]["Environment"]["Variables"]
    resources = {
        name for name, value in variables.items() if isinstance(value, dict) and "Ref" in value
    }
    taken = {name for name in resources if name.endswith(("TABLE", "BUCKET", "PARAMETER"))}
    (tmp_path / "build").mkdir()
    (tmp_path / "sample_events").symlink_to(ROOT / "sample_events")
    given = {name: f"of-{name}" for name in taken}
    subprocess.run(
        ["bash", "-euc", stubs + block], cwd=tmp_path, env=os.environ | given, check=True
    )
    assert json.loads((tmp_path / "build/variables.json").read_text()) == {"Parameters": given}
    assert (
        "Bearer a-token"
        in json.loads((tmp_path / "build/event.json").read_text())["headers"].values()
    )
