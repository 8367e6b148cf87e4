"""The command line: every command on the hub of an account, on one that runs here, and on one in a
folder; its output for people and for scripts, and the one line of a failure.
"""

import email.utils
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from typer.testing import CliRunner

from infra import stack
from infra.cli import app, output
from infra.cli import aws as account
from infra.embedded_aws import EmbeddedAws
from tests import builders, client
from tests.builders import Record, graph
from tests.client import bearer
from tests.shared.maintenance import upkeep

ROOT = Path(__file__).parent.parent.parent
DAY = 24 * 3600
HISTORY = graph("1; 2:1; 3:2")
OTHER = graph("1", salt="other")


class Done(NamedTuple):
    """A command that ended: its exit status and its output."""

    status: int
    out: str
    err: str

    @property
    def value(self) -> Any:
        """The one JSON document on stdout, with nothing on stderr."""
        assert self.err == ""
        return json.loads(self.out)


def pieria(*arguments: str | Path) -> Done:
    """A command, in this process. Only expected exceptions may end it."""
    result = CliRunner().invoke(
        app, [str(argument) for argument in arguments], catch_exceptions=False
    )
    return Done(result.exit_code, result.stdout, result.stderr)


def done(*arguments: str | Path) -> Any:
    """The output of a successful command for scripts."""
    ended = pieria(*arguments, "--json")
    assert ended.status == 0, ended.err
    return ended.value


def printed(*arguments: str | Path) -> str:
    """The output of a successful command for people."""
    ended = pieria(*arguments)
    assert (ended.status, ended.err) == (0, "")
    return ended.out


def refused(*arguments: str | Path) -> str:
    """The one line with which a command fails, alike with and without --json."""
    plain, for_scripts = pieria(*arguments), pieria(*arguments, "--json")
    assert plain == for_scripts
    assert plain.status == 2 and plain.out == ""
    assert plain.err.startswith("pieria: ") and plain.err.count("\n") == 1
    return plain.err.removeprefix("pieria: ").rstrip()


@pytest.fixture
def song(owner: str) -> str:
    """A private repository with three commits on main."""
    done("repo", "create", f"{owner}/song", "--private")
    assert client.push(owner, "song", HISTORY.bundle()).status == 200
    return f"{owner}/song"


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let the commands' clock be so far ahead, and stand still."""
    at = time.time() + seconds
    monkeypatch.setattr(output, "now", lambda: at)


# ── Tokens ────────────────────────────────────────────────────────────────────────────────────────


def me(token: str) -> client.Answer:
    return client.invoke("tokens", client.event("GET", "/api/v1/me", headers=bearer(token)))


def test_a_token_is_issued_listed_and_revoked(owner: str) -> None:
    issued = done("token", "issue", "--owner", owner, "--scope", "read", "--repo", f"{owner}/song", "--bearer", "agent",
                  "--days", "7")  # fmt: skip
    assert me(issued["token"]).value == {
        "handle": owner,
        "token_id": issued["token_id"],
        "scope": "read",
        "repo": f"{owner}/song",
        "bearer": "agent",
    }
    assert issued["expires_at"] - issued["issued_at"] == 7 * DAY
    [listed] = done("token", "list", "--owner", owner)["tokens"]
    assert listed == {key: value for key, value in issued.items() if key not in ("handle", "token")}
    assert issued["token_id"] in printed("token", "list", "--owner", owner)
    revoked = done("token", "revoke", issued["token_id"], "--owner", owner)
    assert revoked == {"handle": owner, "token_id": issued["token_id"]}
    assert me(issued["token"]).status == 401
    [listed] = done("token", "list", "--owner", owner)["tokens"]
    assert listed["revoked_at"] >= listed["issued_at"]


def test_a_token_is_alone_on_stdout(owner: str) -> None:
    ended = pieria("token", "issue", "--owner", owner)
    assert ended.status == 0 and me(ended.out.strip()).value["scope"] == "write"
    assert "not shown again" in ended.err and ended.out.strip() not in ended.err


def test_the_newest_token_is_listed_first(owner: str) -> None:
    ids = [done("token", "issue", "--owner", owner)["token_id"] for _ in range(3)]
    assert [t["token_id"] for t in done("token", "list", "--owner", owner)["tokens"]] == ids[::-1]
    assert printed("token", "revoke", ids[0], "--owner", owner).startswith(
        f"revoked: {ids[0]} of {owner}; "
    )


def test_a_token_that_was_never_written_down_can_be_revoked(owner: str) -> None:
    token = client.token(owner, token_id="unlisted")
    assert "--unlisted" in refused("token", "revoke", "unlisted", "--owner", owner)
    assert me(token).status == 200
    done("token", "revoke", "unlisted", "--owner", owner, "--unlisted")
    assert me(token).status == 401


def test_tokens_are_for_valid_handles(owner: str) -> None:
    assert "is reserved" in refused("token", "issue", "--owner", "admin")
    assert "is not a handle" in refused("token", "list", "--owner", "a/b")
    assert "owner/slug" in refused("token", "issue", "--owner", owner, "--repo", "song")
    assert "not a token id" in refused("token", "revoke", "a b", "--owner", owner)
    done("token", "issue", "--owner", owner)
    assert done("token", "issue", "--owner", owner.upper())["handle"] == owner


# ── Repositories ──────────────────────────────────────────────────────────────────────────────────


def test_a_repository_is_created_shown_listed_and_deleted(owner: str) -> None:
    name = f"{owner}/song"
    created = done(
        "repo",
        "create",
        name,
        "--private",
        "--description",
        "a [red]song\x1b[2J",
        "--domain",
        "midi",
    )
    assert created["visibility"] == "private" and created["default_branch"] == "main"
    assert printed("repo", "create", f"{owner}/more") == f"created: {owner}/more, public\n"
    shown = done("repo", "show", name)
    assert shown == created | {"branches": [], "members": [], "gc": None}
    assert "a [red]song\N{REPLACEMENT CHARACTER}[2J" in printed("repo", "show", name)
    assert [repo["slug"] for repo in done("repo", "list", owner)["repos"]] == ["more", "song"]
    assert "\x1b" not in printed("repo", "list", owner)
    assert done("repo", "delete", name, "--yes")["repo_id"] == created["repo_id"]
    assert [repo["slug"] for repo in done("repo", "list", owner)["repos"]] == ["more"]
    assert "there is no repository" in refused("repo", "show", name)


def test_a_repository_that_cannot_be_is_refused(owner: str) -> None:
    done("repo", "create", f"{owner}/song")
    assert f"the repository {owner}/song already exists" in refused(
        "repo", "create", f"{owner}/song"
    )
    assert "owner/slug" in refused("repo", "create", "song")
    assert "is reserved" in refused("repo", "create", "api/song")
    assert "--domain" in refused("repo", "create", f"{owner}/b", "--domain", "No Such")
    assert "default branch" in refused("repo", "create", f"{owner}/b", "--default-branch", "a/b")
    assert "is not a handle" in refused("repo", "list", "a b")


def test_a_deletion_is_asked_for(owner: str) -> None:
    done("repo", "create", f"{owner}/song")
    ended = CliRunner().invoke(app, ["repo", "delete", f"{owner}/song"], input="n\n")
    assert ended.exit_code == 2 and "nothing was deleted" in ended.stderr
    assert pieria("repo", "delete", f"{owner}/song", "--json").err.startswith(
        "pieria: nothing was deleted"
    )
    ended = CliRunner().invoke(app, ["repo", "delete", f"{owner}/song"], input="y\n")
    assert ended.exit_code == 0 and "deleted" in ended.stdout
    assert "there is no repository" in refused("repo", "delete", f"{owner}/song", "--yes")


def test_members_come_and_go(song: str, owner: str) -> None:
    bob = f"{owner}-bob"
    assert done("repo", "member", song)["members"] == []
    assert done("repo", "member", song, bob, "--role", "read")["members"] == [
        {"handle": bob, "role": "read"}
    ]
    assert client.call("refs", owner, "song", by=bob).status == 200
    assert bob in printed("repo", "member", song)
    assert done("repo", "member", song, bob, "--remove")["members"] == []
    assert client.call("refs", owner, "song", by=bob).status == 404


def test_members_that_cannot_be_are_refused(song: str, owner: str) -> None:
    done("token", "issue", "--owner", f"{owner}-bob")
    assert "owns" in refused("repo", "member", song, owner, "--role", "read")
    assert "not a member" in refused("repo", "member", song, f"{owner}-BOB", "--remove")
    assert "--role or --remove" in refused("repo", "member", song, "bob")
    assert "--role or --remove" in refused("repo", "member", song, "--remove")
    assert "there is no repository" in refused("repo", "member", f"{owner}/none")


def test_a_forced_push_is_undone(song: str, owner: str) -> None:
    assert client.push(owner, "song", OTHER.bundle(), force=True).status == 200
    [forced, first] = done("repo", "moves", song, "main")["moves"]
    assert (forced["before"], forced["after"], forced["forced"]) == (HISTORY[3], OTHER[1], True)
    assert (first["before"], first["after"], first["by"]) == (None, HISTORY[3], owner)
    assert HISTORY[3] in printed("repo", "moves", song, "main")
    assert done("repo", "restore-branch", song, "main")["commit_id"] == HISTORY[3]
    assert client.heads(owner, "song", by=owner) == {"main": HISTORY[3]}
    assert OTHER[1] in printed("repo", "restore-branch", song, "main", "--to", OTHER[1][:8])
    assert [move["by"] for move in done("repo", "moves", song, "main")["moves"]][:2] == [
        "pieria",
        "pieria",
    ]


def test_a_branch_is_deleted_and_brought_back(song: str, owner: str) -> None:
    assert client.push(owner, "song", OTHER.bundle(), branch="side").status == 200
    assert done("repo", "delete-branch", song, "side") == {"deleted": "side"}
    assert "no such branch" in refused("repo", "delete-branch", song, "side")
    assert "--leave-empty" in refused("repo", "delete-branch", song, "main")
    assert client.heads(owner, "song", by=owner) == {"main": HISTORY[3]}
    assert "deleted: main" in printed("repo", "delete-branch", song, "main", "--leave-empty")
    assert client.heads(owner, "song", by=owner) == {}
    assert done("repo", "restore-branch", song, "main")["commit_id"] == HISTORY[3]


def test_commits_that_a_forced_push_removed_are_expunged(
    song: str, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "is still reached by branch main" in refused("expunge", song, HISTORY[3])
    assert client.push(owner, "song", OTHER.bundle(), force=True).status == 200
    assert HISTORY[3] in done("expunge", song, HISTORY[3])["commits"]
    assert "would be deleted" in printed("expunge", song, HISTORY[3])
    marked = done("expunge", song, HISTORY[3], "--remove")
    assert (marked["step"], marked["dry_run"]) == ("marked", False)
    assert "the same command deletes the bytes from" in printed(
        "expunge", song, HISTORY[3], "--remove"
    )
    # The bucket has the time of this machine.
    monkeypatch.setattr(output, "now", lambda: time.time() + 3600)
    shown = printed("expunge", song, HISTORY[3], "--remove")
    assert "deleted 1 commits" in shown and "create-invalidation" in shown
    assert "nothing is stored" in refused("expunge", song, HISTORY[3])
    assert done("fsck", song)["findings"] == []


def test_an_impossible_restore_is_refused(song: str) -> None:
    assert "no such branch" in refused("repo", "restore-branch", song, "none")
    assert "was not at" in refused("repo", "restore-branch", song, "main", "--to", "0" * 64)
    assert "has no branch 'none'" in refused("repo", "moves", song, "none")


# ── Upkeep ────────────────────────────────────────────────────────────────────────────────────────


def test_fsck_and_rebuild_index(song: str, owner: str) -> None:
    assert done("fsck", song) == {
        "repo": song,
        "checked": {"commits": 3, "snapshots": 3, "objects": 3},
        "findings": [],
    }
    assert printed("fsck", song) == f"{song} is whole: 3 commits, 3 snapshots, 3 objects\n"
    repo_id = upkeep.repo(owner).repo_id
    lost: Record = upkeep.rows(repo_id, "#O")[0]
    upkeep.remove_row(lost)
    ended = pieria("fsck", song, "--json")
    [finding] = ended.value["findings"]
    assert ended.status == 1 and (finding["kind"], finding["id"]) == ("object", lost["sk"])
    ended = pieria("fsck", song)
    assert ended.status == 1 and lost["sk"] in ended.out and "rebuild-index" in ended.out
    assert "  1. write missing rows of objects: 3 found\n" in printed(
        "rebuild-index", song, "--dry-run"
    )
    assert "--stop-gc" not in refused("rebuild-index", song, "--dry-run", "--stop-gc")
    assert pieria("fsck", song).status == 1, "a dry run writes nothing"
    rebuilt = done("rebuild-index", song)
    assert rebuilt["objects"] == 3 and rebuilt["damaged"] == rebuilt["incomplete"] == []
    assert "3 objects" in printed("rebuild-index", song)
    assert done("fsck", song)["findings"] == []
    [pack] = (bytes_ := upkeep.Bytes(repo_id)).keys("packs/")
    bytes_.put(pack, b"damaged")
    ended = pieria("rebuild-index", song, "--json")
    assert ended.status == 1 and ended.value["damaged"] == [pack.rpartition("/")[2]]
    assert pieria("rebuild-index", song).status == 1


def test_a_refused_rebuild_leaves_a_gc_as_it_is(
    song: str, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.push(owner, "song", OTHER.bundle(), force=True).status == 200
    later(monkeypatch, 40 * DAY)
    done("gc", song, "--condemn")
    assert "--stop-gc" in refused("rebuild-index", song)
    assert done("repo", "show", song)["gc"]["step"] == "condemned"
    assert "seconds" in refused("rebuild-index", song, "--stop-gc")
    assert done("repo", "show", song)["gc"]["step"] == "halted"


@pytest.mark.parametrize("command", ["fsck", "rebuild-index", "gc"])
def test_maintenance_of_an_absent_repository_is_refused(command: str, owner: str) -> None:
    assert "there is no repository" in refused(command, f"{owner}/none")


def test_a_bar_shows_a_name_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    ended = pieria("fsck", "[/red]x\x1b[2J/y")
    assert (
        ended.status == 2
        and "[/red]x\N{REPLACEMENT CHARACTER}[2J/y" in ended.err
        and "Traceback" not in ended.err
    )


def test_a_bundle_is_made_ready_for_clones(song: str, owner: str) -> None:
    made = done("repo", "bundle", song)
    assert made["is_new"] and made["bytes"] > 0
    assert "3 commits and 3 objects is there already" in printed("repo", "bundle", song)
    done("repo", "create", f"{owner}/empty")
    assert done("repo", "bundle", f"{owner}/empty")["why_not"] == "it has no branches"
    assert "no bundle, since it has no branches" in printed("repo", "bundle", f"{owner}/empty")


def test_gc_goes_step_by_step(song: str, owner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.push(owner, "song", OTHER.bundle(), force=True).status == 200
    rows = len(upkeep.index_rows(upkeep.repo(owner).repo_id))
    assert "nothing is condemned" in refused("gc", song, "--sweep")
    later(monkeypatch, 40 * DAY)
    counted = done("gc", song)
    assert counted["dry_run"] and counted["step"] == "condemned" and counted["rows"]["commits"] == 3
    said = printed("gc", song)
    assert counted["writes"][0] == "mark rows of commits: 3"
    assert "  1. mark rows of commits: 3\n" in said and "next: `--condemn` does it" in said
    condemned = done("gc", song, "--condemn")
    assert condemned["rows"] == counted["rows"] and not condemned["dry_run"]
    assert "too early" in refused("gc", song, "--sweep")
    assert done("gc", song)["step"] is None and "too early" in printed("gc", song)
    assert len(upkeep.index_rows(upkeep.repo(owner).repo_id)) == rows
    later(monkeypatch, 40 * DAY + 4000)
    assert "`--sweep` does it" in printed("gc", song)
    assert done("gc", song, "--sweep")["rows"] == condemned["rows"]
    later(monkeypatch, 40 * DAY + 8000)
    assert "`--collect` does it" in printed("gc", song)
    assert done("gc", song, "--due")["packs"] >= 1
    assert done("fsck", song)["findings"] == []
    assert done("repo", "show", song)["gc"]["step"] == "collected"
    assert "one step at a time" in refused("gc", song, "--sweep", "--collect")


def test_repack_folds_small_packs(owner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    song = f"{owner}/song"
    drawn = builders.chain(8, files=True)
    for number in drawn.commits:
        assert client.push(owner, "song", drawn.bundle([number])).status == 200
    before = upkeep.clone(owner)
    young = done("repo", "repack", song, "--fold")
    assert (young["packs"], young["left"]["young"]) == (0, 8)
    assert "8 younger than a day" in printed("repo", "repack", song)
    later(monkeypatch, 2 * DAY)
    counted = done("repo", "repack", song)
    assert counted["dry_run"] and (counted["packs"], counted["into"]) == (8, 1)
    said = printed("repo", "repack", song)
    assert "  1. write a pack that combines 8 packs" in said and "`--fold` does it" in said
    assert len(upkeep.Bytes(upkeep.repo(owner).repo_id).keys("packs/")) == 8
    folded = done("repo", "repack", song, "--fold")
    del counted["writes"]
    assert folded == counted | {"dry_run": False}
    assert "folded 0 packs" in printed("repo", "repack", song, "--fold")
    assert done("repo", "show", song)["gc"]["step"] == "repacked"
    for days in (2.1, 2.2, 2.3):
        later(monkeypatch, days * DAY)
        done("gc", song, "--due")
    assert len(upkeep.Bytes(upkeep.repo(owner).repo_id).keys("packs/")) == 1
    assert upkeep.clone(owner) == before and done("fsck", song)["findings"] == []
    assert "there is no repository" in refused("repo", "repack", f"{owner}/none")


def test_repack_of_a_damaged_repository_points_to_fsck(
    owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = builders.chain(8, files=True)
    for number in drawn.commits:
        assert client.push(owner, "song", drawn.bundle([number])).status == 200
    later(monkeypatch, 2 * DAY)
    bytes_ = upkeep.Bytes(upkeep.repo(owner).repo_id)
    pack = bytes_.keys("packs/")[0]
    data = bytes_.get(pack)
    bytes_.put(pack, data[:20] + bytes([data[20] ^ 1]) + data[21:])
    assert "`pieria fsck`" in refused("repo", "repack", f"{owner}/song", "--fold")


def test_gc_of_a_damaged_repository_points_at_fsck(song: str, owner: str) -> None:
    for row in upkeep.rows(upkeep.repo(owner).repo_id, "#LANE#"):
        upkeep.remove_row(row)
    assert "`pieria fsck`" in refused("gc", song, "--condemn")


@pytest.fixture
def own_hub(aws: EmbeddedAws, owner: str, configured: pytest.MonkeyPatch) -> None:
    """Tables of the test's own: a purge looks at everything that was ever deleted."""
    names = {"HubTable": f"hub-{owner}", "CounterTable": f"counters-{owner}"}
    stack.create(aws.url, names)
    configured.setenv("PIERIA_HUB_TABLE", names["HubTable"])
    configured.setenv("PIERIA_COUNTER_TABLE", names["CounterTable"])


def test_purge_removes_deleted_repositories(
    own_hub: None, song: str, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo_id = upkeep.repo(owner).repo_id
    done("repo", "delete", song, "--yes")
    assert done("purge")["waiting"] == 1 and "wait: 1;" in printed("purge")
    assert done("purge", "--remove")["waiting"] == 1
    assert upkeep.Bytes(repo_id).versions(), "a day it is left alone"
    later(monkeypatch, 2 * DAY)
    assert done("purge", "--remove")["done"] == 1
    assert not upkeep.Bytes(repo_id).versions() and not upkeep.index_rows(repo_id)
    assert "removed 0 rows" in printed("purge", "--remove")


# ── Mistyped commands ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("frobnicate", "No such command 'frobnicate'; see `pieria --help`"),
        ("repo shwo a/b", "Did you mean 'show'"),
        ("repo rename a/b", "Missing argument 'SLUG'; see `pieria repo rename --help`"),
        ("gc", "Missing argument 'OWNER/SLUG'; see `pieria gc --help`"),
        ("token issue --owner bob --days 400", "less than or equal to 365"),
        (
            "token issue --owner bob --scope root",
            "'root' is not one of 'read', 'write', 'admin'; see",
        ),
        ("purge --limit x", "a valid integer"),
        ("repo create a/b --privat", "--private"),
        ("fsck a/b --data", "requires an argument"),
        ("repo show a/b --json\x1b[2J", "Possible options: --json"),
    ],
)
def test_a_mistyped_word_is_named_in_one_line(line: str, says: str) -> None:
    ended = pieria(*line.split(" "))
    assert ended.status == 2 and ended.out == ""
    assert ended.err.startswith("pieria: ") and ended.err.count("\n") == 1
    assert says in ended.err and "--help`" in ended.err and "\x1b" not in ended.err


@pytest.mark.parametrize("line", ["", "repo", "token"])
def test_where_nothing_is_said_the_commands_are_shown(line: str) -> None:
    ended = pieria(*line.split())
    assert ended.status == 2 and "Commands" in ended.out and ended.err == ""


# ── Accounts that lack something ──────────────────────────────────────────────────────────────────


def states() -> dict[str, str]:
    """The state of each resource, as the doctor reports it."""
    ended = pieria("doctor", "--json")
    assert ended.value["ok"] is (ended.status == 0)
    return {check["piece"]: check["state"] for check in ended.value["checks"]}


def test_the_doctor_finds_a_whole_hub_whole() -> None:
    assert set(states().values()) == {"ok"}
    assert "signing keys: old, new" in printed("doctor")


LACKING: dict[str, tuple[dict[str, str | None], str, str]] = {
    "no bucket's name": ({"PIERIA_BUCKET": None}, "PIERIA_BUCKET is missing or wrong", "settings"),
    "no keys": (
        {"PIERIA_SIGNING_KEYS": "{}"},
        "PIERIA_SIGNING_KEYS is missing or wrong",
        "settings",
    ),
    "keys that are none": (
        {"PIERIA_SIGNING_KEYS": "secret"},
        "PIERIA_SIGNING_KEYS is missing or wrong",
        "settings",
    ),
    "no table": ({"PIERIA_HUB_TABLE": "none"}, "there is no hub table none here", "hub table"),
    "another's table": ({"PIERIA_HUB_TABLE": "counters"}, "counters has the keys pk", "hub table"),
    "no region": ({"AWS_DEFAULT_REGION": None}, "set AWS_DEFAULT_REGION", "region"),
    "no credentials": (
        {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None},
        "there are no AWS credentials: log in again",
        "credentials",
    ),
    "no such profile": ({"AWS_PROFILE": "nobody"}, "(nobody)", "credentials"),
}


@pytest.mark.parametrize("case", LACKING)
def test_missing_resources_of_an_account_are_named(
    case: str, monkeypatch: pytest.MonkeyPatch, owner: str
) -> None:
    changed, line, piece = LACKING[case]
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, os.devnull)
    for name, value in changed.items():
        monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)
    assert line in refused("repo", "show", f"{owner}/song")
    assert states()[piece] == "failed"
    assert pieria("doctor").status == 1


def test_a_bucket_that_is_not_there_is_found_by_the_doctor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIERIA_BUCKET", "no-such-bucket")
    assert states()["bucket"] == "failed"


def test_a_clock_that_is_wrong_is_found() -> None:
    for off, state in ((0, "ok"), (60, "failed"), (-60, "failed")):
        assert (
            account.clock([email.utils.formatdate(time.time() + off, usegmt=True)]).state == state
        )
    assert (
        "seconds behind"
        in account.clock([email.utils.formatdate(time.time() + 60, usegmt=True)]).result
    )
    assert (
        "seconds ahead of"
        in account.clock([email.utils.formatdate(time.time() - 60, usegmt=True)]).result
    )


# ── Hubs on this machine ──────────────────────────────────────────────────────────────────────────

ELSEWHERE = {
    "AWS_PROFILE": "work",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "PIERIA_HUB_TABLE": "elsewhere",
}


class Running(NamedTuple):
    """A hub in a process of its own."""

    process: subprocess.Popen[str]
    data: Path
    url: str


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """A hub on any free port, ready; it ends with the test."""
    data = tmp_path / "data"
    command = [sys.executable, "-m", "infra.serve", "--port", "0", "--data", str(data)]
    with subprocess.Popen(
        command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            for line in process.stdout or ():
                if found := re.match(r"HUB READY url=(\S+)", line):
                    yield Running(process, data, found[1])
                    return
            pytest.fail("the hub did not start")
        finally:
            process.kill()


def from_a_shell(*arguments: str | Path) -> Done:
    """A command in a process of its own, with an environment that leads elsewhere."""
    command = [sys.executable, "-m", "infra.cli", *map(str, arguments)]
    ended = subprocess.run(
        command, cwd=ROOT, env=os.environ | ELSEWHERE, text=True, capture_output=True, timeout=60
    )
    return Done(ended.returncode, ended.stdout, ended.stderr)


def test_a_running_hub_and_one_that_was_killed(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = from_a_shell(
        "token", "issue", "--owner", "alice", "--data", running.data, "--json"
    ).value["token"]
    answer = httpx.get(f"{running.url}/api/v1/me", headers={"Authorization": f"Bearer {token}"})
    assert answer.json()["handle"] == "alice"
    done("repo", "create", "alice/song", "--private", "--data", running.data)
    assert httpx.get(f"{running.url}/alice/song/refs").status_code == 404
    assert running.url in printed("doctor", "--data", running.data)
    pushed = {"bundle": {"commits": [{"commit_id": "first", "message": "one"}]}, "branch": "main"}
    headers = {"Authorization": f"Bearer {token}"}
    assert (
        httpx.post(f"{running.url}/alice/song/push", json=pushed, headers=headers).status_code
        == 200
    )
    assert done("fsck", "alice/song", "--data", running.data)["checked"]["commits"] == 1

    running.process.kill()
    running.process.wait()
    # Without --data, the environment selects the hub, and otherwise the current folder.
    monkeypatch.chdir(running.data.parent)
    (running.data).rename(".hub")
    monkeypatch.delenv("PIERIA_HUB_TABLE")
    assert "not running" in printed("doctor")
    assert done("repo", "show", "alice/song")["branches"] == [
        {"branch": "main", "commit_id": "first", "generation": 1}
    ]
    Path(".hub/hub.sqlite-wal").unlink(missing_ok=True)
    Path(".hub/hub.sqlite").write_bytes(b"\x07" * 10_000)
    [damaged] = [one for one in pieria("doctor", "--json").value["checks"] if one["state"] != "ok"]
    assert damaged["piece"] == "database" and "restore a copy" in damaged["fix"]


def test_serve_starts_a_hub_or_says_why_not(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "infra.cli",
        "serve",
        "--port",
        "0",
        "--data",
        str(tmp_path / "data"),
        "--json",
    ]
    with subprocess.Popen(
        command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        where = json.loads(process.stdout.readline())
        assert httpx.get(f"{where['url']}/health").status_code == 200
        again = from_a_shell("serve", "--port", "0", "--data", tmp_path / "data")
        assert again.status == 2 and "is in use by another hub" in again.err
        process.terminate()
        assert process.communicate(timeout=10)[0] == "" and process.returncode == 0


def test_a_folder_without_a_hub_is_named(tmp_path: Path, owner: str) -> None:
    line = refused("repo", "list", owner, "--data", tmp_path / "none")
    assert f"there is no hub in {tmp_path / 'none'}: start one with `make serve`" in line
    assert not (tmp_path / "none").exists()
    ended = pieria("doctor", "--data", tmp_path / "none", "--json")
    [check] = ended.value["checks"]
    assert ended.status == 1 and check["piece"] == "hub" and "make serve" in check["fix"]


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path, owner: str) -> None:
    before = dict(os.environ)
    for old, line in (("journal", "make serve DATA="), ("hub.sqlite", "signing-keys.json is not")):
        (tmp_path / old).write_text("")
        (tmp_path / "signing-keys.json").write_text("{}")
        assert line in refused("repo", "list", owner, "--data", tmp_path)
    assert dict(os.environ) == before
