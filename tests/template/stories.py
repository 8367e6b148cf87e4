"""Every route of the hub, used in all the ways that make it ask something else of AWS, what fails
included.
"""

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import boto3
import httpx
import msgpack
import pytest

from functions.endpoints import MIDI_DOMAIN
from shared import ids, settings
from shared.actions import clone_counts
from tests import builders, client, issuer
from tests.builders import Record, blob, chain, commit, graph, snapshot
from tests.client import Answer, ask, call, fetch, heads, push
from tests.cloud_calls import CloudCall, intercepted
from tests.conftest import NAMES
from tests.functions import api, test_exchange
from tests.functions.browser import Browser
from tests.shared.maintenance import upkeep

Fresh = Callable[[str], None]
"""Starts a new container of a function: the caches of a warm one would hide its first calls."""

MIB = 1024 * 1024
MANY = 1700
"""Ids, above which an index is read partition by partition."""
WIDE = 100
"""Files, above which a push reads its parent's manifest."""


def ok(answer: Answer, *statuses: int) -> Answer:
    """An answer that has this status, or is good."""
    assert answer.status in (statuses or (200, 201, 204)), (answer.status, answer.body)
    return answer


def on_files(message: str, files: dict[str, bytes], *parents: str, send: bool = True) -> Record:
    """A push of one commit on a snapshot of these files, which come along or not."""
    record = snapshot({name: ids.object_id(content) for name, content in files.items()})
    return {
        "commits": [commit(message, parents, record["snapshot_id"])],
        "snapshots": [record],
        "objects": [blob(content) for content in files.values()] if send else [],
    }


def head(bundle: Record) -> str:
    """The id of the last commit of a push."""
    return str(bundle["commits"][-1]["commit_id"])


def lose_bytes(owner: str) -> None:
    """Everything that a repository has in the bucket is gone."""
    kept = upkeep.Bytes(upkeep.repo(owner).repo_id)
    for key in kept.keys():
        kept.remove(key)


@contextmanager
def somebody_faster(owner: str, slug: str) -> Iterator[None]:
    """A cloud in which another request creates this repository just before the next one does."""
    is_created = False
    row = {"pk": {"S": f"OWNER#{owner}"}, "sk": {"S": f"REPO#{slug}"}}
    repo_id = str(uuid.uuid4())
    values = {
        "owner": owner,
        "slug": slug,
        "repo_id": repo_id,
        "visibility": "public",
        "domain": "code",
    }
    values |= {"default_branch": "main", "description": "", "roster": repo_id, "revision": "1"}

    async def create_first(call: CloudCall) -> Any:
        nonlocal is_created
        is_creation = call.operation == "UpdateItem" and call.parameters["Key"] == row
        if is_creation and not is_created:
            is_created = True
            numbers = {"created_at": {"N": "1"}, "deleted_at": {"N": "0"}}
            dynamodb = boto3.client("dynamodb")
            dynamodb.put_item(
                TableName=NAMES["HubTable"],
                Item=row | numbers | {name: {"S": text} for name, text in values.items()},
            )
            dynamodb.close()
        return await call.send()

    with intercepted(create_first):
        yield


# ── Pushing ───────────────────────────────────────────────────────────────────────────────────────


def a_push_of_little_and_one_of_much(owner: str, fresh: Fresh) -> None:
    history = chain(12, files=True, salt=owner)
    ok(push(owner, "song", history.bundle([1])))
    ok(push(owner, "song", history.bundle(range(2, 13))))
    ok(push(owner, "song", history.bundle([12]), branch="takes/one"), 200)
    large = on_files("large", {"a.wav": b"a" * (MIB + 1), "b.txt": b"b"}, history[12])
    ok(push(owner, "song", large))
    fresh("push")
    wide = {f"{n}.txt": f"{n} {owner}".encode() for n in range(WIDE)}
    first = on_files("wide", wide, head(large))
    ok(push(owner, "song", first))
    fresh("push")
    second = on_files("wider", wide | {"new.txt": owner.encode()}, head(first), send=False)
    second["objects"] = [blob(owner.encode())]
    ok(push(owner, "song", second))


def a_push_that_comes_too_late_and_one_that_forces(owner: str, fresh: Fresh) -> None:
    history = graph("1; 2:1; 3:2; 4:1", salt=owner)
    ok(push(owner, "song", history.bundle([1, 2, 3])))
    ok(push(owner, "song", history.bundle([4])), 409)
    ok(push(owner, "song", history.bundle([4]), force=True))
    ok(push(owner, "song", history.bundle([1, 2, 3]), force=True))


def a_push_of_an_upload(owner: str, fresh: Fresh) -> None:
    content = owner.encode() * 10_000
    bundle = on_files("uploaded", {"a.wav": content}, send=False)
    answer = ok(
        call(
            "presign",
            owner,
            "song",
            {"object_ids": [ids.object_id(content)], "direction": "put"},
            by=owner,
        )
    )
    ok(push(owner, "song", bundle), 422)
    [url] = answer.value["presigned"].values()
    assert httpx.put(url, content=content).status_code == 200
    ok(call("filter_objects", owner, "song", {"object_ids": [ids.object_id(content)]}, by=owner))
    ok(push(owner, "song", bundle))


def a_push_to_a_damaged_repository(owner: str, fresh: Fresh) -> None:
    wide = {f"{n}.txt": f"{n} {owner}".encode() for n in range(WIDE)}
    first = on_files("wide", wide)
    ok(push(owner, "song", first))
    lose_bytes(owner)
    fresh("push")
    ok(
        push(owner, "song", on_files("wider", wide | {"new.txt": b"new"}, head(first), send=False)),
        500,
    )


def bodies_that_are_staged(owner: str, fresh: Fresh) -> None:
    bundle = chain(1, files=True, salt=owner).bundle()
    for route, message in (
        ("push/objects", {"objects": bundle["objects"]}),
        ("push", {"bundle": bundle, "branch": "main"}),
    ):
        body = msgpack.packb(message)
        place = ok(
            call("staging", owner, "song", {"route": route, "size": len(body)}, by=owner)
        ).value
        staged = {"pieria-staged-body": place["reference"]}
        function = route.replace("/", "_")
        ok(call(function, owner, "song", by=owner, headers=staged), 400)
        assert httpx.put(place["url"], content=body).status_code == 200
        ok(call(function, owner, "song", by=owner, headers=staged))


def first_writes_that_find_a_repository(owner: str, fresh: Fresh) -> None:
    digest = ids.object_id(b"any")
    for slug, write in {
        "a": lambda: push(owner, "a", chain(1, salt=owner).bundle()),
        "b": lambda: call("push_objects", owner, "b", {"objects": [blob(b"any")]}, by=owner),
        "d": lambda: call("staging", owner, "d", {"route": "push", "size": 1}, by=owner),
        "c": lambda: call(
            "presign", owner, "c", {"object_ids": [digest], "direction": "put"}, by=owner
        ),
    }.items():
        with somebody_faster(owner, slug):
            ok(write())


def objects_ahead_of_a_push(owner: str, fresh: Fresh) -> None:
    objects = [blob(f"{n} {owner}".encode()) for n in range(30)] + [blob(b"l" * (MIB + 1))]
    ok(call("push_objects", owner, "song", {"objects": objects}, by=owner))
    ok(call("push_objects", owner, "song", {"objects": objects}, by=owner))
    ok(
        call(
            "push_objects",
            owner,
            "song",
            {"objects": [{"object_id": "0" * 64, "content": b""}]},
            by=owner,
        ),
        422,
    )
    some = [ids.object_id(str(n).encode()) for n in range(MANY)]
    ok(call("filter_objects", owner, "song", {"object_ids": some[:10]}, by=owner))
    ok(call("filter_objects", owner, "song", {"object_ids": some}, by=owner))
    ok(push(owner, "song", on_files("held", {"a.txt": owner.encode()})))
    ok(call("filter_objects", owner, "song", {"object_ids": some}, by=owner))


# ── Reading ───────────────────────────────────────────────────────────────────────────────────────


def a_song(owner: str) -> builders.History:
    history = graph("1; 2:1; 3:1; 4:2,3", salt=owner)
    ok(push(owner, "song", history.bundle()))
    ok(push(owner, "song", history.bundle([3]), branch="takes/one"))
    return history


def a_clone_and_a_pull(owner: str, fresh: Fresh) -> None:
    history = a_song(owner)
    assert heads(owner, "song", by=owner)["main"] == history[4]
    ok(fetch(owner, "song", [history[4]], by=owner))
    ok(fetch(owner, "song", [history[4]], [history[2]], by=owner))
    ok(
        fetch(
            owner,
            "song",
            [history[4]],
            [ids.object_id(str(n).encode()) for n in range(300)],
            by=owner,
        )
    )
    ok(fetch(owner, "song", ["0" * 64], by=owner), 404)
    for have in ([], [history[2]]):
        ok(call("negotiate", owner, "song", {"want": [history[4]], "have": have}, by=owner))
    large = on_files("large", {"a.wav": b"a" * (MIB + 1)}, history[4])
    large["commits"][0]["structured_delta"] = {"padding": [str(uuid.uuid4()) for _ in range(400)]}
    ok(push(owner, "song", large))
    ok(fetch(owner, "song", [head(large)], [history[4]], by=owner))
    lose_bytes(owner)
    ok(fetch(owner, "song", [head(large)], [history[4]], by=owner), 500)


def a_clone_in_steps(owner: str, fresh: Fresh) -> None:
    history = a_song(owner)
    large = on_files("large", {"a.wav": b"a" * (MIB + 1)}, history[4])
    ok(push(owner, "song", large))
    for have in ([], [history[2]], [ids.object_id(str(n).encode()) for n in range(300)]):
        step = ok(
            call("fetch_history", owner, "song", {"want": [head(large)], "have": have}, by=owner)
        ).value
        ok(call("fetch_objects", owner, "song", {"object_ids": list(step["objects"])}, by=owner))
    # A caller who is no member reads an older commit: the hub walks down from the branches.
    ok(call("fetch_history", owner, "song", {"want": [history[1]]}))
    ok(call("fetch_objects", owner, "song", {"object_ids": ["0" * 64]}, by=owner), 404)
    lose_bytes(owner)
    ok(call("fetch_history", owner, "song", {"want": [head(large)]}, by=owner), 500)
    ok(call("fetch_objects", owner, "song", {"object_ids": list(step["objects"])}, by=owner), 500)


def files_and_objects(owner: str, fresh: Fresh) -> None:
    history = a_song(owner)
    object_id = next(iter(history.objects))
    large = b"a" * (5 * MIB)
    ok(push(owner, "song", on_files("large", {"a.wav": large}, history[4])))
    repo_id = call("refs", owner, "song", by=owner).value["repo_id"]
    for wanted, statuses in {
        object_id: (200,),
        ids.object_id(large): (307,),
        "0" * 64: (404,),
    }.items():
        ok(ask("objects", "GET", f"/{owner}/song/objects/{wanted}", by=owner), *statuses)
        ok(ask("objects", "GET", f"/o/{wanted}", by=owner, query=f"repo_id={repo_id}"), *statuses)
    ok(ask("objects", "GET", f"/o/{object_id}", by=owner, query="repo_id=none"), 404)
    for path, statuses in {
        "main/a.wav": (307,),
        "takes/one/1.txt": (200,),
        f"{history[1]}/1.txt": (200,),
        "main/none": (404,),
        "none/1.txt": (404,),
    }.items():
        ok(ask("raw", "GET", f"/{owner}/song/raw/{path}", by=owner), *statuses)
    # A caller who is no member reads an older commit: the hub walks down from the branches.
    ok(ask("raw", "GET", f"/{owner}/song/raw/{history[1]}/1.txt"))
    lose_bytes(owner)
    ok(ask("objects", "GET", f"/{owner}/song/objects/{object_id}", by=owner), 500)
    ok(ask("raw", "GET", f"/{owner}/song/raw/takes/one/1.txt", by=owner), 500)


def history_for_people(owner: str, fresh: Fresh) -> None:
    history = a_song(owner)
    ok(ask("refs", "GET", f"/{owner}/song/refs", by=owner))
    at = f"/repos/{owner}/song"
    for path, query, statuses in (
        ("/commits", "", (200,)),
        ("/commits", "ref=takes/one&limit=1", (200,)),
        ("/commits", "ref=none", (404,)),
        (f"/commits/{history[4]}", "", (200,)),
        (f"/commits/{'0' * 64}", "", (404,)),
        (f"/commits/{history[4]}/files", "", (200,)),
        ("/compare", f"base={history[1]}&head=main", (200,)),
    ):
        ok(api.call("commits", "GET", f"{at}{path}", by=owner, query=query), *statuses)
    fresh("commits")
    lose_bytes(owner)
    # A container that still runs may remember the manifest of the commit above.
    ok(api.call("commits", "GET", f"{at}/commits/{history[2]}/files", by=owner), 500)


def pages_for_people(owner: str, fresh: Fresh) -> None:
    def page(path: str, *statuses: int) -> None:
        ok(ask("pages", "GET", path, accept="text/html"), *statuses)

    first = on_files("first", {"README.md": b"# A song", "a.py": b"a = 1"})
    ok(push(owner, "song", first))
    ok(ask("pages", "GET", f"/{owner}/song", by=owner, accept=None))
    for path in ("/", f"/{owner}", f"/{owner}/song"):
        page(path)
    for path in (
        "tree/main",
        "blob/main/a.py",
        "commits/main",
        "compare/main...main",
        "branches",
        "graph",
        "file/main/a.py",
    ):
        page(f"/{owner}/song/{path}")
    page(f"/{owner}/song/commit/{head(first)}")
    page(f"/{owner}/song/release")
    page(f"/{owner}/song/release/none", 404)
    page(f"/{owner}/none", 404)
    page("/domains")
    page(f"/domains/@{owner}/none", 404)
    lose_bytes(owner)
    fresh("pages")
    page(f"/{owner}/song", 500)


def users_of_a_provider(owner: str, fresh: Fresh) -> None:
    """A first sign-in, a second one, and a link to the handle of a token."""
    with issuer.running() as provider, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIERIA_LOCAL_ISSUERS", "on")
        patch.setenv("PIERIA_OPENID_ISSUER", provider.url)
        patch.setenv("PIERIA_OPENID_CLIENT_ID", issuer.CLIENT_ID)
        settings.load.cache_clear()
        for number in range(3):
            chrome = Browser()
            if number == 2:
                chrome.sign_in(f"{owner}-b")
            begun = chrome.send("GET", "/-/sign-in/openid")
            subject = f"{owner}-b" if number == 2 else owner
            back = urlsplit(provider.agree(begun.headers["location"], sub=subject))
            answer = ok(chrome.send("GET", f"{back.path}?{back.query}"), 303)
            if answer.headers["location"] == "/-/handle":
                chrome.get("/-/handle")
                if number == 2:
                    chrome.submit("/-/handle/link")
                else:
                    chrome.submit("/-/handle", handle=owner)
            fresh("account")
    settings.load.cache_clear()


def tokens_for_programs(owner: str, fresh: Fresh) -> None:
    """An issuer is trusted, its ID tokens are exchanged, and it is trusted no longer."""
    with issuer.running() as ci, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIERIA_LOCAL_ISSUERS", "on")
        settings.load.cache_clear()
        created = ok(test_exchange.trusted(owner, ci), 201).value
        for _ in range(2):
            ok(test_exchange.exchanged(owner, test_exchange.id_token(ci)))
            fresh("exchange")
        ok(test_exchange.exchanged(owner, "nonsense", by=owner), 400)
        path = f"/repos/{owner}/song/trusted-issuers"
        ok(api.call("trusted_issuers", "GET", path, by=owner))
        path_of_one = f"{path}/{created['trust_id']}"
        ok(api.call("trusted_issuers", "DELETE", path_of_one, by=owner))
        chrome, form = Browser(), f"/{owner}/song/settings/issuers"
        chrome.sign_in(owner, next=form)
        chrome.submit(form, issuer="https://id.example", claims="sub=job", scope="read")
        chrome.submit(f"{form}/remove")
    settings.load.cache_clear()


def domains_come_and_rise(owner: str, fresh: Fresh) -> None:
    domain = {**MIDI_DOMAIN, "author_slug": owner}
    for version in ("0.1.0", "0.1.0", "0.2.0"):
        message = {**domain, "version": version}
        ok(api.call("domains", "POST", "/domains", message, by=owner), 201)
    ok(api.call("domains", "POST", "/domains", {**domain, "slug": "verse"}, by=f"{owner}-b"), 403)
    ok(api.call("domains", "POST", "/domains", domain, by=owner), 409)
    ok(api.call("domains", "GET", "/domains"))
    ok(api.call("domains", "GET", f"/domains/@{owner}/song"))
    ok(api.call("domains", "GET", f"/domains/@{owner}/none"), 404)
    ok(api.call("domains", "DELETE", f"/domains/@{owner}/song", by=owner), 204)
    ok(api.call("domains", "DELETE", f"/domains/@{owner}/song", by=owner), 404)


# ── Releases, tags, branches ──────────────────────────────────────────────────────────────────────


def releases_come_and_go(owner: str, fresh: Fresh) -> None:
    history = a_song(owner)
    release: Record = {
        "tag": "v1/final",
        "release_id": str(uuid.uuid4()),
        "commit_id": history[4],
        "channel": "stable",
    }
    release |= {"title": "one", "created_at": "2026-01-01T00:00:00+00:00", "is_draft": False}
    path = f"/{owner}/song/releases"
    ok(ask("releases", "POST", path, release, by=owner))
    ok(ask("releases", "POST", path, release, by=owner))
    ok(ask("releases", "POST", path, release | {"release_id": str(uuid.uuid4())}, by=owner), 409)
    ok(ask("releases", "POST", path, release | {"tag": "v2", "commit_id": "0" * 64}, by=owner), 422)
    ok(ask("releases", "GET", path, by=owner))
    ok(ask("releases", "DELETE", f"{path}/v1/final", by=owner))
    ok(ask("releases", "DELETE", f"{path}/v1/final", by=owner), 404)


def tags_come_and_go(owner: str, fresh: Fresh) -> None:
    history = a_song(owner)
    tags = [
        {"tag_id": f"tag-{n}", "commit_id": history[1], "tag": "emotion:joy"} for n in range(20)
    ]
    path = f"/{owner}/song/tags"
    for some in (tags[:2], tags, tags):
        ok(ask("tags", "POST", path, {"tags": some}, by=owner))
    ok(ask("tags", "POST", path, {"tags": [tags[0] | {"tag": "other"}]}, by=owner), 409)
    ok(ask("tags", "GET", path, by=owner, query="label=emotion:joy"))
    ok(ask("tags", "DELETE", f"{path}/tag-1", by=owner))
    ok(ask("tags", "DELETE", f"{path}/tag-1", by=owner), 404)


def branches_come_and_go(owner: str, fresh: Fresh) -> None:
    history = a_song(owner)
    at = f"/repos/{owner}/song"
    ok(api.call("branches", "GET", f"{at}/branches", by=owner))
    ok(api.call("branches", "DELETE", f"{at}/branches", by=owner, query="branch=takes/one"))
    ok(api.call("branches", "DELETE", f"{at}/branches", by=owner, query="branch=takes/one"), 404)
    ok(api.call("branches", "GET", f"{at}/moves", by=owner, query="branch=takes/one"))
    ok(api.call("branches", "POST", f"{at}/restore", {"branch": "takes/one"}, by=owner))
    ok(push(owner, "song", on_files("next", {"a.txt": b"a"}, history[4])))
    ok(api.call("branches", "POST", f"{at}/restore", {"branch": "main"}, by=owner))
    ok(api.call("branches", "POST", f"{at}/restore", {"branch": "none"}, by=owner), 404)
    ok(
        api.call(
            "branches", "POST", f"{at}/restore", {"branch": "main", "to": history[4][:8]}, by=owner
        )
    )
    ok(api.call("branches", "POST", f"{at}/restore", {"branch": "main", "to": "main"}, by=owner))


# ── The API ───────────────────────────────────────────────────────────────────────────────────────


def repositories_come_and_go(owner: str, fresh: Fresh) -> None:
    api.create(owner, "song", visibility="private")
    api.create(owner, "other")
    ok(api.call("repos", "POST", "/repos", {"slug": "song"}, by=owner), 409)
    api.give(owner, "song", f"{owner}-bob", "read")
    for by in (owner, f"{owner}-bob", None):
        ok(api.call("repos", "GET", f"/users/{owner}/repos", by=by))
    ok(api.get(owner, "song", by=owner))
    ok(api.get(owner, "none", by=owner), 404)
    ok(api.call("repos", "PATCH", f"/repos/{owner}/song", {"default_branch": "dev"}, by=owner))
    ok(api.call("repos", "PATCH", f"/repos/{owner}/song", {"visibility": "public"}, by=owner))
    for _ in range(2):
        ok(api.call("repos", "POST", f"/repos/{owner}/song/rename", {"slug": "hymn"}, by=owner))
    ok(api.call("repos", "POST", f"/repos/{owner}/hymn/rename", {"slug": "other"}, by=owner), 409)
    ok(api.call("repos", "DELETE", f"/repos/{owner}/hymn", by=owner))
    ok(api.call("repos", "DELETE", f"/repos/{owner}/hymn", by=owner), 404)
    api.create(owner, "hymn")
    ok(api.call("repos", "GET", "/deleted", by=owner))
    again = {"slug": "hymn", "new_slug": "psalm"}
    ok(api.call("repos", "POST", "/deleted", again, by=owner))


def members_come_and_go(owner: str, fresh: Fresh) -> None:
    api.create(owner, "song")
    bob = f"{owner}-bob"
    for role in ("read", "write"):
        ok(api.give(owner, "song", bob, role))
    ok(api.call("members", "GET", f"/repos/{owner}/song/members", by=owner))
    ok(api.call("members", "DELETE", f"/repos/{owner}/song/members/{bob}", by=owner))
    ok(
        api.call(
            "members", "PUT", f"/repos/{owner}/none/members/{bob}", {"role": "read"}, by=owner
        ),
        404,
    )


def tokens_come_and_go(owner: str, fresh: Fresh) -> None:
    answer = ok(api.call("tokens", "POST", "/tokens", {"scope": "read"}, by=owner))
    ok(api.call("tokens", "GET", "/tokens", by=owner))
    ok(api.call("tokens", "GET", "/me", token=answer.value["token"]))
    ok(api.call("usage", "GET", "/usage", by=owner))
    ok(ask("jwks", "GET", "/.well-known/jwks.json", by=owner))
    ok(api.call("tokens", "DELETE", f"/tokens/{answer.value['token_id']}", by=owner))
    ok(api.call("tokens", "GET", "/me", token=answer.value["token"]), 401)


def upkeep_comes_by(owner: str, fresh: Fresh) -> None:
    """Small packs, costly clones, unreachable commits, an upload; then the repository is deleted."""
    now = time.time()
    api.create(owner, "song")
    ok(api.give(owner, "song", f"{owner}-bob", "read"))
    for number in range(14):
        bundle = on_files(f"take {number}", {"a.txt": f"{owner} {number}".encode()})
        ok(push(owner, "song", bundle, branch=f"b{number}"))
    for _ in range(clone_counts.TOGETHER):
        ok(fetch(owner, "song", [*heads(owner, "song", by=owner).values()], by=owner))
    done = client.run_job("upkeep", at=now)["done"]
    assert done["clone"] == 1, done
    ok(push(owner, "song", on_files("another take", {}), branch="b1", force=True))
    upkeep.put_due(owner, "repack", now)
    upkeep.put_due(owner, "gc", now)
    for days in (100, 101, 102):
        done = client.run_job("upkeep", at=now + days * 86_400)["done"]
        assert done["gc"] >= 1, done
    content = b"no push names it"
    asked = call("presign", owner, "song", {"object_ids": [blob(content)["object_id"]]}, by=owner)
    for url in asked.value["presigned"].values():
        assert httpx.put(url, content=content).status_code == 200
    ok(api.call("repos", "DELETE", f"/repos/{owner}/song", by=owner))
    assert client.run_job("upkeep", at=now + 103 * 86_400)["done"]["purge"] >= 1


def what_asks_nothing(owner: str, fresh: Fresh) -> None:
    ok(ask("health", "GET", "/health"))
    ok(api.call("openapi", "GET", "/openapi.json"))
    ok(ask("openapi", "GET", "/openapi.json"))


STORIES: list[Callable[[str, Fresh], None]] = [
    a_push_of_little_and_one_of_much,
    a_push_that_comes_too_late_and_one_that_forces,
    a_push_of_an_upload,
    bodies_that_are_staged,
    a_push_to_a_damaged_repository,
    first_writes_that_find_a_repository,
    objects_ahead_of_a_push,
    a_clone_and_a_pull,
    a_clone_in_steps,
    files_and_objects,
    history_for_people,
    pages_for_people,
    users_of_a_provider,
    tokens_for_programs,
    releases_come_and_go,
    tags_come_and_go,
    branches_come_and_go,
    repositories_come_and_go,
    members_come_and_go,
    tokens_come_and_go,
    domains_come_and_rise,
    upkeep_comes_by,
    what_asks_nothing,
]
"""Each with an owner of its own."""
