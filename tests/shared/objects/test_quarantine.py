"""The quarantine: an upload becomes an object only with the content that its id promises."""

import uuid
from dataclasses import replace
from hashlib import md5

import pytest

from shared import ids
from shared.errors import HashMismatch, Unavailable
from shared.model import Loose, ObjectId, Repo, RepoId, Upload, Version
from shared.objects import keys
from shared.objects.bucket import NoSuchKey
from shared.objects.quarantine import Quarantine
from shared.stores import Stores

pytestmark = pytest.mark.asyncio(loop_scope="session")

CONTENT = b"the true content"
OBJECT = ids.object_id(CONTENT)


@pytest.fixture
def quarantine(opened: Stores, repo_id: RepoId) -> Quarantine:
    return opened.of(Repo("ada", "song", repo_id)).quarantine


async def upload(quarantine: Quarantine, object_id: str, content: bytes) -> None:
    """Write the bytes that a client uploads to the URL."""
    await quarantine.bucket.put(keys.upload(quarantine.repo_id, object_id), content)


async def accepted(quarantine: Quarantine, object_id: str) -> bytes | None:
    """Return the content of the loose object, or None."""
    try:
        return await quarantine.bucket.get(keys.loose(quarantine.repo_id, object_id))
    except NoSuchKey:
        return None


async def test_an_upload_url_points_into_quarantine(quarantine, repo_id):
    url = await quarantine.presign(OBJECT, 60)
    assert f"/uploads/{repo_id}/{OBJECT}?" in url


@pytest.mark.parametrize(
    "content", [CONTENT, b"", b"z" * 3_000_000], ids=["small", "empty", "of several pieces"]
)
async def test_an_upload_with_the_right_content_becomes_an_object(quarantine, content):
    object_id = ids.object_id(content)
    await upload(quarantine, object_id, content)
    checked = await quarantine.check(object_id)
    assert checked is not None
    assert await accepted(quarantine, object_id) is None
    location = await quarantine.accept(checked)
    assert location == Loose(len(content))
    assert await accepted(quarantine, object_id) == content


async def test_an_object_that_was_not_uploaded_to_this_repository_is_absent(quarantine):
    another = replace(quarantine, repo_id=RepoId(str(uuid.uuid4())))
    await upload(another, OBJECT, CONTENT)
    assert await quarantine.check(OBJECT) is None


@pytest.mark.parametrize(
    "content", [b"", CONTENT[:-1], CONTENT + b"\n"], ids=["nothing", "cut short", "a byte more"]
)
async def test_an_upload_with_other_content_is_refused(quarantine, content):
    await upload(quarantine, OBJECT, content)
    with pytest.raises(HashMismatch, match=f"uploaded object {OBJECT} does not match"):
        await quarantine.check(OBJECT)
    assert await accepted(quarantine, OBJECT) is None


async def test_the_checked_version_is_accepted_after_a_new_upload(quarantine):
    await upload(quarantine, OBJECT, CONTENT)
    checked = await quarantine.check(OBJECT)
    await upload(quarantine, OBJECT, b"something else")
    await quarantine.accept(checked)
    assert await accepted(quarantine, OBJECT) == CONTENT


async def test_a_changed_upload_is_refused_in_a_bucket_without_versions(quarantine):
    await upload(quarantine, OBJECT, CONTENT)
    checked = await quarantine.check(OBJECT)
    assert checked is not None
    await upload(quarantine, OBJECT, b"something else")
    unversioned = replace(checked, version=replace(checked.version, version_id=None))
    with pytest.raises(Unavailable, match="uploaded again while it was checked"):
        await quarantine.accept(unversioned)
    assert await accepted(quarantine, OBJECT) is None


async def test_a_deleted_upload_is_refused(quarantine):
    with pytest.raises(Unavailable):
        await quarantine.accept(Upload(ObjectId(OBJECT), Version('"e"', None), len(CONTENT)))
    assert await accepted(quarantine, OBJECT) is None


async def test_the_same_content_can_be_uploaded_and_accepted_twice(quarantine):
    await upload(quarantine, OBJECT, CONTENT)
    checked = await quarantine.check(OBJECT)
    await upload(quarantine, OBJECT, CONTENT)
    for _ in range(2):
        await quarantine.accept(checked)
    assert await accepted(quarantine, OBJECT) == CONTENT


async def test_an_upload_after_the_acceptance_has_no_effect(quarantine):
    await upload(quarantine, OBJECT, CONTENT)
    await quarantine.accept(await quarantine.check(OBJECT))
    await upload(quarantine, OBJECT, b"something else")
    assert await accepted(quarantine, OBJECT) == CONTENT


# Two blocks of one MD5, published by Wang, Feng, Lai and Yu in 2004: an entity tag is an MD5.
TWINS = [
    bytes.fromhex(
        "d131dd02c5e6eec4693d9a0698aff95c2fcab58712467eab4004583eb8fb7f89"
        "55ad340609f4b30283e488832571415a085125e8f7cdc99fd91dbdf280373c5b"
        "d8823e3156348f5bae6dacd436c919c6dd53e2b487da03fd02396306d248cda0"
        "e99f33420f577ee8ce54b67080a80d1ec69821bcb6a8839396f9652b6ff72a70"
    ),
    bytes.fromhex(
        "d131dd02c5e6eec4693d9a0698aff95c2fcab50712467eab4004583eb8fb7f89"
        "55ad340609f4b30283e4888325f1415a085125e8f7cdc99fd91dbd7280373c5b"
        "d8823e3156348f5bae6dacd436c919c6dd53e23487da03fd02396306d248cda0"
        "e99f33420f577ee8ce54b67080280d1ec69821bcb6a8839396f965ab6ff72a70"
    ),
]


async def test_a_second_upload_with_the_same_entity_tag_has_no_effect(quarantine):
    true, false = TWINS
    assert md5(true).digest() == md5(false).digest()
    object_id = ids.object_id(true)
    await upload(quarantine, object_id, true)
    checked = await quarantine.check(object_id)
    await upload(quarantine, object_id, false)
    await quarantine.accept(checked)
    assert await accepted(quarantine, object_id) == true
