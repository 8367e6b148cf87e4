"""`pieria --hub URL`: every command of users gives the same output by the API and by the data."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgpack
import pytest

from tests.builders import graph
from tests.client import MSGPACK
from tests.infra.test_cli import Done, pieria
from tests.test_session import served

HISTORY = graph("1; 2:1; 3:2")
OTHER = graph("1", salt="other")
DOMAIN = {
    "slug": "song",
    "display_name": "Songs",
    "capabilities": {"dimensions": [{"name": "notes"}]},
    "viewer_type": "midi",
    "version": "0.1.0",
}
RELEASE = {"release_id": "first", "tag": "v1", "commit_id": HISTORY[3], "title": "One"}

Run = Callable[..., Done]


class Hub(NamedTuple):
    """A hub on this machine, in a process of its own."""

    url: str
    data: Path

    def token(self, owner: str) -> str:
        """A new token of scope admin."""
        options = ("--owner", owner, "--scope", "admin", "--json")
        token: str = self.direct("token", "issue", *options).value["token"]
        return token

    def direct(self, *arguments: str) -> Done:
        """A command on the data of the hub."""
        return pieria(*arguments, "--data", self.data)

    def as_user(self, owner: str, folder: Path) -> Run:
        """Commands by the API, with a token of this user in a file."""
        file = folder / f"token-of-{owner}"
        file.write_text(self.token(owner) + "\n")
        options = ("--hub", self.url, "--token-file", file)
        return lambda *arguments: pieria(*options, *arguments)

    def post(self, path: str, body: Any, token: str) -> httpx.Response:
        """A request of the stock client."""
        headers = {"Authorization": f"Bearer {token}", "Content-Type": MSGPACK}
        packed = msgpack.packb(body)
        return httpx.post(self.url + path, content=packed, headers=headers, timeout=30)


@pytest.fixture(scope="module")
def hub(aws: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    data = tmp_path_factory.mktemp("hub") / "data"
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PIERIA_LIMIT_PUSH", "1000000")
        with served(data, "sqlite") as running:
            yield Hub(running.url, data)


COMMANDS_OF_USERS = """
repo create OWNER/song --private --description tune
repo create OWNER/song
repo create OWNER/more --domain midi --default-branch trunk --portable-names off
repo create OWNER/bad --domain No
repo list OWNER
repo show OWNER/song
repo show OWNER/none
repo edit OWNER/song --visibility public --description hymn
repo edit OWNER/song --default-branch none
repo member OWNER/song
repo member OWNER/song OWNER-friend --role write
repo member OWNER/song OWNER-friend --remove
repo member OWNER/song OWNER-friend --remove
repo member OWNER/song OWNER --role read
PUSH
repo show OWNER/song
repo moves OWNER/song main
repo restore-branch OWNER/song main
repo restore-branch OWNER/song main --to none
repo delete-branch OWNER/song side
repo delete-branch OWNER/song side
repo delete-branch OWNER/song main --leave-empty
repo restore-branch OWNER/song main --to COMMIT
release list OWNER/song
release list OWNER/song --channel beta
release delete OWNER/song v1
release delete OWNER/song v1
domain show @OWNER/song
domain show OWNER/none
usage show OWNER
repo rename OWNER/song hymn
repo rename OWNER/hymn more
repo delete OWNER/hymn --yes
repo list OWNER --deleted
repo create OWNER/hymn
repo undelete OWNER/hymn
repo undelete OWNER/hymn --as psalm
repo undelete OWNER/never
repo show OWNER/psalm
token issue --owner OWNER --scope read --repo OWNER/song --days 7
token list --owner OWNER
token revoke TOKEN_ID --owner OWNER
token revoke none --owner OWNER
token revoke none --owner OWNER --unlisted
token revoke --all --owner OWNER
"""
"""PUSH: requests of a client make two branches, one with a forced move, a release and a domain."""


def pushed(hub: Hub, owner: str) -> None:
    """What PUSH stands for."""
    token = hub.token(owner)
    pushes = [(HISTORY, "main"), (OTHER, "side"), (OTHER, "main")]
    for history, branch in pushes:
        body = {"branch": branch, "bundle": history.bundle(), "force": True}
        assert hub.post(f"/{owner}/song/push", body, token).status_code == 200
    assert hub.post(f"/{owner}/song/releases", RELEASE, token).status_code == 201
    domain = {**DOMAIN, "author_slug": owner}
    assert hub.post("/api/v1/domains", domain, token).status_code == 201


def played(hub: Hub, owner: str, run: Run) -> Iterator[tuple[str, object]]:
    """The commands with their results, without the values that differ between two users."""
    token_id = ""
    for line in COMMANDS_OF_USERS.split("\n")[1:-1]:
        if line == "PUSH":
            pushed(hub, owner)
            continue
        words = line.replace("OWNER", owner).replace("COMMIT", HISTORY[3])
        arguments = words.replace("TOKEN_ID", token_id).split()
        ended = run(*arguments, "--json")
        if line.startswith("token issue"):
            token_id = ended.value["token_id"]
        yield line, (ended.status, _without_what_differs(ended.out, owner), _kind(ended.err))
        if not {"list", "show", "moves"}.isdisjoint(line.split()):
            shown = run(*arguments)
            yield line, (shown.status, _without_what_differs(shown.out, owner))


def _without_what_differs(text: str, owner: str) -> str:
    """Names, ids and times differ. The operator's moves have another author."""
    text = re.sub(r'"token": "[^"]*"', "TOKEN", text)
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|\b[0-9a-f]{32}\b", "ID", text)
    text = re.sub(r"\d{10}(\.\d+)?|\d{4}-\d\d-\d\d[T ][0-9:.]+ ?[-+0-9:]+", "TIME", text)
    text = re.sub(r'^ +"gc": .*\n|^ *gc .*\n', "", text, flags=re.MULTILINE)
    text = re.sub(r",(?=\n})", "", text)
    text = re.sub(rf"{owner}|pieria", "OWNER", text)
    return re.sub(r"[ ─]+", " ", text)


def _kind(err: str) -> str:
    """The messages of the command differ from those of the API, so only their shape is compared."""
    return re.sub(r"^pieria: .+\n$", "one line", err)


def test_every_command_of_users_gives_the_same_output_by_the_api_and_by_the_data(
    hub: Hub, tmp_path: Path
) -> None:
    as_bob = hub.as_user("bob", tmp_path)
    hub.token("ada")  # as many as bob has
    by_data = list(played(hub, "ada", hub.direct))
    by_api = list(played(hub, "bob", as_bob))
    for direct, remote in zip(by_data, by_api, strict=True):
        assert direct == remote
    statuses = {result[0] for _, result in by_data}  # type: ignore[index]
    assert statuses == {0, 2}
    assert as_bob("repo", "list", "bob").status == 2, "the token of this user was revoked, too"


def test_domains_are_listed_alike_by_the_api_and_by_the_data(hub: Hub, tmp_path: Path) -> None:
    as_dan = hub.as_user("dan", tmp_path)
    domain = {**DOMAIN, "author_slug": "dan"}
    hub.post("/api/v1/domains", domain, hub.token("dan"))
    listed = as_dan("domain", "list", "--json").value
    assert listed == hub.direct("domain", "list", "--json").value
    assert "@dan/song" in [domain["scoped_id"] for domain in listed["domains"]]


def test_the_token_is_taken_from_the_environment_or_from_the_login_of_the_client(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identities = tmp_path / "identity.toml"
    address = hub.url.removeprefix("http://")
    identities.write_text(f'["{address}"]\ntoken = "{hub.token("carol")}"\n')
    monkeypatch.setattr("infra.relay.address.IDENTITY_FILE", identities)
    monkeypatch.setenv("PIERIA_HUB", hub.url)
    assert pieria("token", "list", "--json").value["handle"] == "carol"
    monkeypatch.delenv("PIERIA_HUB")
    token = hub.token("dave")
    monkeypatch.setenv("PIERIA_HUB", hub.url)
    monkeypatch.setenv("PIERIA_TOKEN", token)
    assert pieria("token", "list", "--json").value["handle"] == "dave"


def test_a_token_of_another_user_is_refused_before_a_change(hub: Hub, tmp_path: Path) -> None:
    ended = hub.as_user("carol", tmp_path)("repo", "create", "dave/song")
    assert ended.status == 2 and "the token is of carol" in ended.err


def test_the_options_of_two_hubs_are_refused_together(hub: Hub, tmp_path: Path) -> None:
    both = hub.as_user("carol", tmp_path)("token", "list", "--data", ".hub")
    assert both.err.startswith("pieria: --hub and --data select different hubs")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://example.org", "unencrypted"),
        ("nonsense", "is not the URL of a hub"),
        ("http://127.0.0.1:1", "cannot reach"),
    ],
)
def test_a_wrong_url_is_reported_in_one_line(
    url: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    ended = pieria("--hub", url, "repo", "show", "a/b")
    assert ended.status == 2 and reason in ended.err and ended.err.count("\n") == 1


def test_an_invalid_token_is_reported_in_one_line_without_the_token(
    hub: Hub, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("not-a-token")
    ended = pieria("--hub", hub.url, "--token-file", file, "repo", "create", "a/b")
    assert ended.status == 2 and ended.err.startswith("pieria: ") and ended.err.count("\n") == 1
    assert "not-a-token" not in ended.err


def test_without_a_name_the_own_repositories_are_listed(hub: Hub, tmp_path: Path) -> None:
    as_eve = hub.as_user("eve", tmp_path)
    as_eve("repo", "create", "eve/song", "--private")
    listed = as_eve("repo", "list", "--json").value
    assert (listed["owner"], [repo["slug"] for repo in listed["repos"]]) == ("eve", ["song"])
    as_eve("repo", "delete", "eve/song", "--yes")
    [deleted] = as_eve("repo", "list", "--deleted", "--json").value["repos"]
    assert deleted["slug"] == "song"


def test_a_reader_sees_a_repository_without_its_members(hub: Hub, tmp_path: Path) -> None:
    hub.direct("repo", "create", "carol/open")
    shown = hub.as_user("dave", tmp_path)("repo", "show", "carol/open", "--json").value
    assert "members" not in shown and shown["branches"] == []


def test_the_user_of_tokens_is_named_without_a_hub() -> None:
    assert pieria("token", "list").err == "pieria: name the user with --owner\n"


def test_a_limit_of_storage_is_refused_where_it_would_have_no_effect(hub: Hub) -> None:
    hub.token("carol")
    ended = hub.direct("usage", "limit", "carol", "1000")
    assert ended.status == 2
    assert "has no limits of storage" in ended.err
