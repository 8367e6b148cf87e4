"""A stand-in for the stock client's commands that `pieria clone` runs, since that client is not on
PyPI.

It keeps the layout of the client's store, skips empty objects as the client does, and never
rewrites a record.
"""

import hashlib
import json
import os
import shutil
import sys
import urllib.request
from pathlib import Path
from typing import Any

import msgpack

MSGPACK = "application/x-msgpack"


def main(arguments: list[str]) -> None:
    """Run one command in the current folder."""
    match arguments:
        case ["plumbing", "unpack-objects", "--help"]:
            print("read a PackBundle")
        case ["clone", url, folder]:
            clone(url, Path(folder))
        case ["plumbing", "unpack-objects"]:
            unpack(msgpack.unpackb(sys.stdin.buffer.read()))
        case ["plumbing", "hash-object", "--write", file]:
            put_object(Path(file).read_bytes())
        case ["remote", "set-url", "origin", url]:
            Path(".muse/config.toml").write_text(f'url = "{url}"\n')
        case ["tag", "list", "--format", "json"]:
            print(
                json.dumps([json.loads(file.read_text()) for file in Path(".muse/tags").glob("*")])
            )
        case ["tag", "add", "--", label, commit_id]:
            record = {"tag_id": "x", "tag": label, "commit_id": commit_id}
            Path(f".muse/tags/{len(list(Path('.muse/tags').iterdir()))}").write_text(
                json.dumps(record)
            )
        case ["reset", "--hard", "--force", commit_id]:
            reset(commit_id)
        case _:
            sys.exit(f"no such command: {arguments}")


def clone(url: str, folder: Path) -> None:
    """Branches without content: the relay's reply to the fetch is empty."""
    request = urllib.request.Request(f"{url}/refs", headers={"Accept": MSGPACK})
    refs = msgpack.unpackb(urllib.request.urlopen(request).read())
    fetch = urllib.request.Request(f"{url}/fetch", msgpack.packb({}), {"Content-Type": MSGPACK})
    if msgpack.unpackb(urllib.request.urlopen(fetch).read()):
        sys.exit("the first reply has content")
    for name in ("objects", "commits", "snapshots", "tags"):
        (folder / ".muse" / name).mkdir(parents=True)
    (folder / ".muse/repo.json").write_text(json.dumps({"repo_id": refs["repo_id"]}))
    for branch, commit_id in refs["branch_heads"].items():
        file = folder / ".muse/refs/heads" / branch
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(commit_id)


def unpack(bundle: dict[str, Any]) -> None:
    """Objects, snapshots, commits.

    With CUT_COMMIT in the environment, the caller is killed inside a record.
    """
    objects = [found["content"] for found in bundle.get("objects", ()) if found["content"]]
    for content in objects:
        put_object(content)
    for kind in ("snapshot", "commit"):
        for record in bundle.get(f"{kind}s", ()):
            put_record(kind, record)
    print(json.dumps({"objects_written": len(objects), "objects_skipped": 0}))


def put_record(kind: str, record: dict[str, Any]) -> None:
    """Store a record unless its id is stored."""
    file = Path(f".muse/{kind}s/{record[f'{kind}_id']}.json")
    if file.exists():
        return
    if "CUT_COMMIT" in os.environ and kind == "commit":
        file.write_text("{")
        os.kill(os.getppid(), 9)
        sys.exit(1)
    file.write_text(json.dumps(record))


def put_object(content: bytes) -> None:
    """Store an object."""
    object_id = hashlib.sha256(content).hexdigest()
    file = Path(".muse/objects") / object_id[:2] / object_id[2:]
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)


def reset(commit_id: str) -> None:
    """Write the files of a commit."""
    commit = json.loads(Path(f".muse/commits/{commit_id}.json").read_text())
    snapshot = json.loads(Path(f".muse/snapshots/{commit['snapshot_id']}.json").read_text())
    for path, object_id in snapshot["manifest"].items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(".muse/objects") / object_id[:2] / object_id[2:], path)


if __name__ == "__main__":
    main(sys.argv[1:])
