"""`pieria import-git`: histories of Git of every kind become histories of Muse."""

import subprocess
from pathlib import Path

import httpx
import pytest

from infra.relay.address import Unable
from infra.transfer import git_import
from infra.transfer.ids import FILE
from shared import ids
from tests.infra.relay.conftest import Program
from tests.infra.transfer.conftest import fetched, git, pieria, refused

HISTORY = b"""\
blob
mark :1
data 6
hello

blob
mark :2
data 6
world

blob
mark :3
data 51
version https://git-lfs.github.com/spec/v1
oid sha2
commit refs/heads/trunk
mark :10
author Ada Lovelace <ada@example.org> 1700000000 +0530
committer Ben <ben@example.org> 1700000060 -0800
data 11
first

line
M 100644 :1 README.md
M 100755 :2 bin/run
M 120000 :1 link
M 160000 0123456789012345678901234567890123456789 module
M 100644 :3 large.psd
M 100644 :1 "caf\\351.txt"
M 100644 :1 "new\\nline"
M 100644 :2 .muse/config

commit refs/heads/trunk
mark :11
committer Ben <ben@example.org> 1700000100 +0000
encoding iso-8859-1
data 5
caf\xe9

from :10
D README.md

commit refs/heads/a
mark :12
committer A <a@example.org> 1700000200 +0000
data 1
afrom :10
M 100644 :2 a.txt

commit refs/heads/b
mark :13
committer B <> 99999999999999 +9959
data 1
bfrom :10
M 100644 :2 b.txt

commit refs/heads/trunk
mark :14
committer Ben <ben@example.org> 1700000300 +0000
data 7
octopusfrom :11
merge :12
merge :13
M 100644 :2 a.txt
M 100644 :2 b.txt

reset refs/heads/empty
commit refs/heads/empty
mark :15
committer Ben <ben@example.org> 1700000400 +0000
data 5
empty
commit refs/heads/tagged
mark :16
committer Ben <ben@example.org> 1700000500 +0000
data 6
taggedfrom :11
M 100644 :2 tagged.txt

tag v1
from :16
tagger Ben <ben@example.org> 1700000600 +0000
data 9
a release
reset refs/tags/light
from :11

reset refs/heads/tagged
from 0000000000000000000000000000000000000000

"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A Git repository with all that is difficult."""
    made = tmp_path / "git"
    subprocess.run(["git", "init", "-q", "-b", "trunk", str(made)], check=True)
    git(made, "fast-import", "--quiet", "--date-format=raw-permissive", given=HISTORY)
    return made


def test_each_kind_of_commit_arrives_with_its_files_times_and_names(
    hub: Program, repository: str, folder: Path
) -> None:
    done = pieria("import-git", folder, hub.url + repository)
    assert done["branches"] == ["trunk", "a", "b", "empty"]
    assert done["tags"] == 2
    assert done["notes"] == {
        "LFS pointers": 1,
        "executable files": 1,
        "paths renamed": 3,
        "submodules": 1,
        "symbolic links": 1,
    }
    found = fetched(hub, repository)
    assert set(found["heads"]) == {"trunk", "a", "b", "empty"}

    def at(branch: str) -> tuple[dict[str, object], dict[str, bytes]]:
        commit = found["commits"][found["heads"][branch]]
        manifest = found["snapshots"][commit["snapshot_id"]]
        return commit, {path: found["objects"][i] for path, i in manifest.items()}

    merge, files = at("trunk")
    assert files == {
        "bin/run": b"world\n",
        "large.psd": b"version https://git-lfs.github.com/spec/v1\noid sha2",
        "caf%E9.txt": b"hello\n",
        "new%0Aline": b"hello\n",
        "%2Emuse/config": b"world\n",
        "a.txt": b"world\n",
        "b.txt": b"world\n",
    }
    part = found["commits"][merge["parent_commit_id"]]
    latin = found["commits"][part["parent_commit_id"]]
    first = found["commits"][latin["parent_commit_id"]]
    assert merge["parent2_commit_id"] == found["heads"]["b"]
    assert part["parent2_commit_id"] == found["heads"]["a"]
    assert part["snapshot_id"] == merge["snapshot_id"]
    assert latin["message"] == "café"
    assert (first["message"], first["author"]) == (
        "first\n\nline",
        "Ada Lovelace <ada@example.org>",
    )
    assert first["committed_at"] == "2023-11-14T14:14:20-08:00"
    assert first["metadata"] == {
        "git_author_time": "2023-11-15T03:43:20+05:30",
        "git_committer": "Ben <ben@example.org>",
        "git_commit": git(folder, "rev-list", "--max-parents=0", "trunk").strip(),
    }
    assert at("b")[0]["committed_at"] == "1970-01-01T00:00:00+00:00"
    assert at("empty")[1] == {} and at("empty")[0]["snapshot_id"] == ids.object_id(b"")
    tags = httpx.get(f"{hub.url}{repository}/tags").json()["tags"]
    assert {tag["tag"]: tag["message"] for tag in tags} == {"v1": "a release", "light": ""}


def test_a_second_run_sends_only_what_is_new_with_and_without_the_stored_ids(
    hub: Program, repository: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(folder.parent))
    pieria("import-git", folder, hub.url + repository)
    monkeypatch.delenv("GIT_DIR")
    again = pieria("--hub", hub.url, "import-git", folder, repository.strip("/"))
    assert again["commits"] == 0
    (folder / ".git" / FILE).unlink()
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    git(folder, "checkout", "-q", "-f", "trunk")
    (folder / "new.txt").write_text("new")
    git(folder, "add", "new.txt")
    git(folder, *identity, "commit", "-qm", "new")
    done = pieria("import-git", folder, hub.url + repository)
    assert (done["branches"], done["commits"], done["objects"]) == (["trunk"], 1, 1)


def test_an_interrupted_import_goes_on_where_it_was(
    hub: Program, repository: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_import, "STEP_COMMITS", 1)
    pushes: list[str] = []
    whole = git_import.GitImport._push_step

    async def cut(self: git_import.GitImport, branch: str, *more: object, **named: object) -> None:
        if len(pushes) == 1:
            raise Unable("the network is gone")
        pushes.append(branch)
        await whole(self, branch, *more, **named)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(git_import.GitImport, "_push_step", cut)
        assert "the network is gone" in refused("import-git", folder, hub.url + repository)
    assert list(fetched(hub, repository)["commits"]) != []
    assert pieria("import-git", folder, hub.url + repository)["branches"][0] == "trunk"
    again = repository + "-whole"
    pieria("import-git", folder, hub.url + again)
    parts, whole_one = fetched(hub, repository), fetched(hub, again)
    assert parts["heads"] == whole_one["heads"] and parts["snapshots"] == whole_one["snapshots"]


def test_a_rewritten_branch_moves_only_by_force(
    hub: Program, repository: str, folder: Path
) -> None:
    pieria("import-git", folder, hub.url + repository)
    before = fetched(hub, repository)["heads"]
    git(folder, "update-ref", "refs/heads/trunk", "refs/heads/a")
    done = pieria("import-git", folder, hub.url + repository, status=1)
    assert "--force" in done["left_out"]["trunk"]
    assert fetched(hub, repository)["heads"] == before
    done = pieria("import-git", folder, hub.url + repository, "--force")
    assert done["branches"] == ["trunk"]
    assert fetched(hub, repository)["heads"]["trunk"] == before["a"]


def test_what_cannot_be_read_or_reached_is_refused_in_one_line(
    hub: Program, repository: str, tmp_path: Path, folder: Path
) -> None:
    assert "there is no folder" in refused("import-git", tmp_path / "no", hub.url + repository)
    assert "git failed" in refused("import-git", tmp_path, hub.url + repository)
    assert "does not name a repository" in refused("import-git", folder, hub.url)
    both = refused("--hub", hub.url, "import-git", folder, hub.url + repository)
    assert "select different hubs" in both
    shallow = tmp_path / "shallow"
    command = ["git", "clone", "-q", "--depth", "1", f"file://{folder}", str(shallow)]
    subprocess.run(command, check=True)
    assert "--unshallow" in refused("import-git", shallow, hub.url + repository)
    empty = tmp_path / "empty"
    subprocess.run(["git", "init", "-q", str(empty)], check=True)
    assert "has no branch" in refused("import-git", empty, hub.url + repository)
    assert "the hub refused" in refused("import-git", folder, f"{hub.url}/stranger/song")


def test_a_url_is_copied_once_and_fetched_later(
    hub: Program, repository: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from infra.transfer import git as reading

    monkeypatch.setattr(reading, "CACHE", tmp_path / "cache")
    url = f"file://{folder}"
    assert pieria("import-git", url, hub.url + repository)["branches"][0] == "trunk"
    git(folder, "update-ref", "refs/heads/later", "refs/heads/a")
    assert pieria("import-git", url, hub.url + repository)["branches"] == ["later"]
    assert len(list((tmp_path / "cache").iterdir())) == 1
