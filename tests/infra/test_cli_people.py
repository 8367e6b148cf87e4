"""The command line as its users meet it: help, repositories and users of the whole hub, odd
terminals, Ctrl-C.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from infra.cli import output
from infra.cli.commands import COMMANDS, load
from infra.version import version
from shared.actions.repos import UNDELETE_SECONDS
from tests import client
from tests.builders import graph
from tests.client import bearer
from tests.infra.test_cli import ROOT, done, pieria, printed, refused

HISTORY = graph("1; 2:1")


@pytest.fixture
def song(owner: str) -> str:
    """A private repository with two commits on main."""
    done("repo", "create", f"{owner}/song", "--private")
    assert client.push(owner, "song", HISTORY.bundle()).status == 200
    return f"{owner}/song"


def command_line(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """The program as its own process, with a bare environment."""
    bare = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"} | environment
    command = [sys.executable, "-m", "infra.cli", *arguments]
    return subprocess.run(command, cwd=ROOT, env=bare, capture_output=True, check=False)


# ── Help ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_repeats_the_first_line_of_each_help(name: str):
    loaded = load(name, COMMANDS[name])
    assert (loaded.help or "").partition("\n")[0] == COMMANDS[name].help


def test_the_help_imports_no_command():
    script = (
        "import sys; from infra.cli import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True
    )
    heavy = {"boto3", "botocore", "moto", "pydantic", "fastapi", "aiobotocore", "rich"}
    imported = set(ended.stderr.decode().replace("'", "").strip("[]\n").split(", "))
    assert b"rebuild-index" in ended.stdout
    assert imported & heavy == set()


@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize("command", ["", "repo", "repo create", "gc"])
def test_help_is_shown_by_its_short_and_its_long_option(command: str, option: str):
    ended = pieria(*command.split(), option)
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.startswith(f"Usage: pieria {command}".rstrip())


def test_the_version_is_the_one_of_the_project():
    assert printed("--version") == f"pieria {version()}\n"
    assert f'version = "{version()}"' in (ROOT / "pyproject.toml").read_text()


def test_a_shell_can_complete_commands():
    asked = {"_PIERIA_COMPLETE": "complete_bash", "COMP_WORDS": "pieria re", "COMP_CWORD": "1"}
    assert command_line(**asked).stdout.split() == [b"repo", b"release", b"rebuild-index"]


# ── Repositories and users ────────────────────────────────────────────────────────────────────────


def test_the_whole_hub_is_listed_without_naming_a_user(owner: str):
    done("repo", "create", f"{owner}/first")
    done("repo", "create", f"{owner}-other/second", "--private")
    names = [(repo["owner"], repo["slug"]) for repo in done("repo", "list")["repos"]]
    assert names == sorted(names)
    assert {(owner, "first"), (f"{owner}-other", "second")} <= set(names)
    assert {owner, f"{owner}-other"} <= set(done("user", "list")["users"])
    assert f"{owner}-other/second" in printed("repo", "list") and owner in printed("user", "list")


def test_an_unknown_user_is_reported(owner: str):
    assert f"there is no user {owner}" in refused("repo", "list", owner)
    assert f"there is no user {owner}" in refused("token", "list", "--owner", owner)
    done("token", "issue", "--owner", owner)
    assert printed("repo", "list", owner) == f"{owner} has no repositories\n"


def test_a_handle_may_be_written_in_any_letter_case(song: str, owner: str):
    shouted = owner.upper()
    assert done("repo", "show", f"{shouted}/song")["owner"] == owner
    assert done("repo", "list", shouted)["repos"][0]["slug"] == "song"
    issued = done("token", "issue", "--owner", shouted, "--repo", f"{shouted}/song")
    assert (issued["handle"], issued["repo"]) == (owner, song)
    assert done("token", "list", "--owner", shouted)["handle"] == owner


def test_a_member_may_be_written_in_any_letter_case(song: str, owner: str):
    bob = f"{owner}-bob"
    assert done("repo", "create", f"{bob}/own")["owner"] == bob, (
        "the handle is claimed in this spelling"
    )
    members = done("repo", "member", song, bob.upper(), "--role", "read")["members"]
    assert members == [{"handle": bob, "role": "read"}]
    assert done("repo", "member", song, bob.upper(), "--remove")["members"] == []


def test_the_rule_for_names_is_chosen_at_creation_and_changed_later(owner: str) -> None:
    assert done("repo", "create", f"{owner}/song")["portable_names"] == "on"
    assert (
        done("repo", "create", f"{owner}/old", "--portable-names", "off")["portable_names"] == "off"
    )
    assert "portable_names off" in printed(
        "repo", "edit", f"{owner}/song", "--portable-names", "off"
    )
    assert done("repo", "show", f"{owner}/song")["portable_names"] == "off"
    assert "--portable-names" in refused(
        "repo", "edit", f"{owner}/song", "--portable-names", "maybe"
    )


def test_a_repository_is_edited(song: str, owner: str):
    changed = done("repo", "edit", song, "--visibility", "public", "--description", "a tune")
    assert (changed["visibility"], changed["description"]) == ("public", "a tune")
    assert client.call("refs", owner, "song").status == 200
    assert "has no branch trunk" in refused("repo", "edit", song, "--default-branch", "trunk")
    assert "nothing to change" in refused("repo", "edit", song)
    assert "--description" in refused("repo", "edit", song, "--description", "x" * 100_000)


def test_a_renamed_repository_keeps_branches_and_members(song: str, owner: str):
    done("repo", "member", song, f"{owner}-bob", "--role", "read")
    assert printed("repo", "rename", song, "tune") == f"renamed: {song} is {owner}/tune now\n"
    shown = done("repo", "show", f"{owner}/tune")
    assert [branch["branch"] for branch in shown["branches"]] == ["main"]
    assert [member["handle"] for member in shown["members"]] == [f"{owner}-bob"]
    done("repo", "create", f"{owner}/other")
    assert "already exists" in refused("repo", "rename", f"{owner}/tune", "other")


def test_a_deleted_repository_comes_back_with_branches_and_members(song: str, owner: str):
    done("repo", "member", song, f"{owner}-bob", "--role", "read")
    done("repo", "edit", song, "--description", "a tune")
    done("repo", "delete", song, "--yes")
    [listed] = done("repo", "list", owner, "--deleted")["repos"]
    assert (listed["slug"], listed["description"]) == ("song", "a tune")
    restored = done("repo", "undelete", song)
    assert (restored["visibility"], restored["description"]) == ("private", "a tune")
    assert client.heads(owner, "song", by=f"{owner}-bob") == {"main": HISTORY[2]}
    assert done("repo", "list", owner, "--deleted")["repos"] == []
    assert "no repository" in refused("repo", "undelete", song)


def test_a_deleted_repository_is_restored_under_another_name_if_its_name_is_in_use(
    song: str, owner: str
):
    done("repo", "member", song, f"{owner}-bob", "--role", "read")
    done("repo", "delete", song, "--yes")
    done("repo", "create", song)
    assert "choose another with --as" in refused("repo", "undelete", song)
    restored = done("repo", "undelete", song, "--as", "tune")
    assert (restored["slug"], restored["visibility"]) == ("tune", "private")
    assert client.heads(owner, "tune", by=f"{owner}-bob") == {"main": HISTORY[2]}
    assert done("repo", "show", song)["branches"] == [], "the new repository is as it was"


def test_no_repository_comes_back_once_a_purge_may_have_begun(
    song: str, monkeypatch: pytest.MonkeyPatch
):
    done("repo", "delete", song, "--yes")
    at = time.time() + UNDELETE_SECONDS - 60
    monkeypatch.setattr(output, "now", lambda: at)
    assert "23 hours" in refused("repo", "undelete", song)


def test_a_purge_leaves_a_repository_alone_that_came_back(
    song: str, owner: str, monkeypatch: pytest.MonkeyPatch
):
    done("repo", "delete", song, "--yes")
    done("repo", "undelete", song)
    at = time.time() + 2 * UNDELETE_SECONDS
    monkeypatch.setattr(output, "now", lambda: at)
    done("purge", "--remove")
    assert client.heads(owner, "song", by=owner) == {"main": HISTORY[2]}


def test_all_tokens_of_a_user_are_revoked_at_once(owner: str):
    tokens = [done("token", "issue", "--owner", owner)["token"] for _ in range(3)]
    revoked = done("token", "revoke", "--all", "--owner", owner)
    assert len(revoked["token_ids"]) == 3
    for token in tokens:
        headers = bearer(token)
        assert (
            client.invoke("tokens", client.event("GET", "/api/v1/me", headers=headers)).status
            == 401
        )
    assert (
        printed("token", "revoke", "--all", "--owner", owner)
        == f"revoked: all 0 valid tokens of {owner}\n"
    )
    assert "name one token, or use --all" in refused("token", "revoke", "--owner", owner)


def test_a_user_without_a_role_cannot_be_removed(song: str, owner: str):
    assert "is not a member" in refused("repo", "member", song, "nobody", "--remove")
    done("repo", "member", song, f"{owner}-bob", "--role", "read")
    assert done("repo", "member", song, f"{owner}-bob", "--remove")["members"] == []


# ── Terminals ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "en_US.ISO-8859-1", "PYTHONUTF8": "0"},
        {"LC_ALL": "no_SUCH.locale"},
        {"TERM": "dumb", "COLUMNS": "1", "LINES": "1"},
        {"TERM": "no-such-terminal", "COLUMNS": "x"},
    ],
    ids=lambda environment: " ".join(environment.values()),
)
def test_an_unusual_terminal_or_locale_causes_no_traceback(
    environment: dict[str, str], tmp_path: Path
):
    for arguments in (
        ["--help"],
        ["doctor", "--data", str(tmp_path)],
        ["fsck", "ä/ö\u2028", "--data", "ü"],
    ):
        ended = command_line(*arguments, **environment)
        assert b"Traceback" not in ended.stderr, ended.stderr
        assert ended.returncode in (0, 1, 2)


def test_a_locale_without_the_characters_of_a_description_shows_the_rest(song: str):
    done("repo", "edit", song, "--description", "für Élise")
    hub = {
        name: value for name, value in os.environ.items() if name.startswith(("AWS_", "PIERIA_"))
    }
    ended = command_line("repo", "show", song, **hub, PYTHONIOENCODING="ascii")
    assert ended.returncode == 0 and b"f?r ?lise" in ended.stdout, ended.stderr


def test_a_reader_that_closes_the_pipe_causes_no_traceback():
    command = f"{sys.executable} -m infra.cli --help | true"
    ended = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, check=False)
    assert b"Traceback" not in ended.stderr


def test_the_doctor_writes_lines_that_fit_a_pipe(tmp_path: Path):
    ended = pieria("doctor", "--data", str(tmp_path))
    assert ended.status == 1
    finding, advice = ended.out.splitlines()
    assert finding.startswith("failed  hub: there is no hub in")
    assert advice.strip().startswith("to fix it: ")
    assert all(line == line.rstrip() for line in (finding, advice)), "no padding"


def test_times_have_a_zone_and_sizes_a_unit(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        assert output.when(1_700_000_000) == "2023-11-15 03:43:20 +0530"
    finally:
        monkeypatch.undo()
        time.tzset()
    assert [output.size(n) for n in (0, 1023, 1536, 5 << 20, 3 << 30)] == [
        "0 bytes", "1023 bytes", "1.5 KiB", "5.0 MiB", "3.0 GiB",
    ]  # fmt: skip


def test_progress_shows_the_total_and_the_bytes():
    assert output.progress_text(3, 10, 1536) == "3 of 10, 1.5 KiB"
    assert output.progress_text(3, None, None) == "3"


@pytest.mark.parametrize("command", ["fsck", "rebuild-index", "repo bundle"])
def test_an_interrupted_command_states_the_state_that_it_leaves(
    song: str, command: str, monkeypatch: pytest.MonkeyPatch
):
    def interrupted(work: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

    monkeypatch.setattr(output, "on_stores", interrupted)
    ended = pieria(*command.split(), song)
    assert ended.status == 2 and ended.out == ""
    assert ended.err.count("\n") == 1 and "was interrupted: " in ended.err
    assert ended.err.rstrip().rpartition("interrupted: ")[2] != ""


# ── Keys of a hub on this machine ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("command", ["list", "rotate", "retire 2026-01-01 --yes"])
def test_keys_of_a_local_hub_are_not_mistaken_for_those_of_an_account(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PIERIA_HUB_TABLE")
    monkeypatch.delenv("PIERIA_SIGNING_KEYS_PARAMETER", raising=False)
    (tmp_path / ".hub").mkdir()
    (tmp_path / ".hub" / "signing-keys.json").write_text(json.dumps({"local": "s" * 64}))
    assert "keeps its keys in .hub/signing-keys.json" in refused("key", *command.split())
