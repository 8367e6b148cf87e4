"""`pieria export` and `pieria import`: from a hub on this machine into an account and back."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra import sqlite_hub
from shared import settings
from tests import client
from tests.builders import graph
from tests.infra.test_cli import done, pieria, printed, refused

HISTORY = graph("1; 2:1; 3:1; 4:2,3")


@pytest.fixture
def song(owner: str) -> str:
    """A private repository with a merge on main."""
    done("repo", "create", f"{owner}/song", "--private", "--description", "A song")
    assert client.push(owner, "song", HISTORY.bundle()).status == 200
    return f"{owner}/song"


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Path]:
    """The folder of a hub on this machine that does not run."""
    before = dict(os.environ)
    with sqlite_hub.opened(tmp_path / "hub", "http://127.0.0.1:1"):
        pass
    os.environ.clear()
    os.environ.update(before)
    settings.load.cache_clear()
    yield tmp_path / "hub"


def test_a_repository_moves_into_a_folder_and_back_byte_for_byte(
    song: str, local: Path, tmp_path: Path
) -> None:
    files = [tmp_path / f"{number}.export" for number in range(3)]
    first = done("export", song, files[0])
    assert first["entries"]["commit"] == 4 and first["bytes"] == files[0].stat().st_size
    moved = done("import", files[0], "--data", local)
    assert (moved["description"], moved["visibility"]) == ("A song", "private")
    assert done("fsck", song, "--data", local)["findings"] == []
    done("export", song, files[1], "--data", local)
    done("repo", "delete", song, "--yes")
    assert "imported: " in printed("import", files[1], song)
    done("export", song, files[2])
    assert files[0].read_bytes() == files[1].read_bytes() == files[2].read_bytes()


def test_only_a_complete_file_appears(song: str, tmp_path: Path) -> None:
    file = tmp_path / "song.export"
    assert "no repository" in refused("export", f"{song}-absent", file)
    assert list(tmp_path.iterdir()) == []
    assert "commits" in printed("export", song, file)
    assert oct(file.stat().st_mode & 0o777) == "0o600"
    assert "exists: name a new file" in refused("export", song, file)
    assert "No such file" in refused("export", song, tmp_path / "absent" / "song.export")


def test_a_wrong_file_is_refused_in_one_line(song: str, tmp_path: Path) -> None:
    assert "cannot read" in refused("import", tmp_path / "absent")
    (tmp_path / "text").write_text("not an export of a repository")
    assert "not an export of this version" in refused("import", tmp_path / "text")
    file = tmp_path / "song.export"
    done("export", song, file)
    assert "already" in refused("import", file)
    assert "does not name a repository" in refused("import", file, "song")
    file.write_bytes(file.read_bytes()[:-1])
    assert "cut off: the entry at byte" in refused("import", file, f"{song}-copy")
    assert pieria("import", file, f"{song}-copy").status == 2
