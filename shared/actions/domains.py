"""Publish, list, show and delete domains.

A domain describes a plugin that Muse uses for a kind of data. Domains are public. A user publishes
under the own handle.
"""

import json
import re
import uuid
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from typing import Any

from shared import codec, cursors, names
from shared.errors import (
    DomainExists,
    DomainNotFound,
    Forbidden,
    TooLarge,
    Unavailable,
    Unprocessable,
)
from shared.metadata.domains import Domain, Domains, domain_of, place
from shared.metadata.table import ConditionFailed
from shared.model import Identity, Role
from shared.protocol.base import parse
from shared.protocol.domains import Capabilities, PublishDomain
from shared.stores import Stores

CAPABILITY_BYTES = 32 * 1024
"""The largest capabilities as JSON."""
ATTEMPTS = 4
"""Attempts if the same domain is published concurrently."""

_NUMBER = re.compile("[0-9]+")
_OF_ONE_VERSION = ("domain_id", "published_at")
"""The fields of a record that differ although the request was the same."""


async def publish(
    stores: Stores, own: Identity, request: PublishDomain, now: float
) -> dict[str, Any]:
    """Publish the first or a later version of a domain. Returns its record.

    A repeated request changes nothing. Raises Forbidden, InvalidName, HandleTaken, TooLarge or
    Unprocessable; DomainExists for a version that is not above the published one.

    Budget: 4 AWS calls, chain of 3 (POST domains).
    """
    names.check_handle(request.author_slug)
    names.check_domain_slug(request.slug)
    _check_author(own, request)
    record = _record(request, int(now))
    await stores.handles.claim(own.subject)
    domains = Domains(stores.hub)
    for _ in range(ATTEMPTS):
        try:
            await domains.put_new(_row(record))
            return record
        except ConditionFailed as lost:
            present = domain_of(lost.current())
        stored = codec.unpack_record(present.record)
        if _content(stored) == _content(record):
            return stored
        if _order(request.version) <= _order(present.version):
            raise DomainExists(
                f"the domain {record['scoped_id']} is published in version {present.version};"
                " publish a higher version, or choose another slug"
            )
        later = {**record, "domain_id": stored["domain_id"]}
        with suppress(ConditionFailed):  # another request published a version meanwhile
            await domains.replace(_row(later), present)
            return later
    raise Unavailable("other requests keep publishing this domain; nothing is lost, try again")


async def listed(stores: Stores, limit: int, after: str | None) -> tuple[list[bytes], str | None]:
    """Return the packed records of a page by author and name, and the cursor of the next page.

    Budget: 3 AWS calls, chain of 2 (GET domains).
    """
    found, last = await Domains(stores.hub).page(limit, after)
    count = codec.fitting_records(domain.record for domain in found)
    if count < len(found):
        last = place(found[count - 1])
    return [domain.record for domain in found[:count]], cursors.after(last)


async def one(stores: Stores, scope: str, slug: str) -> dict[str, Any]:
    """Return the record of the domain `scope/slug`; `scope` is `@author`. Raises DomainNotFound.

    Budget: 3 AWS calls, chain of 2 (GET one domain).
    """
    author = _author(scope, slug)
    found = await Domains(stores.hub).get(author, slug)
    if found is None:
        raise DomainNotFound()
    return codec.unpack_record(found.record)


async def delete(stores: Stores, own: Identity, scope: str, slug: str) -> None:
    """Delete a domain of the caller; its name is free then. Raises DomainNotFound or Forbidden.

    Budget: 4 AWS calls, chain of 3 (DELETE domains).
    """
    author = _author(scope, slug)
    check_may_delete(own, author)
    domains = Domains(stores.hub)
    if await domains.get(author, slug) is None:
        raise DomainNotFound()
    # Without a condition: botocore repeats a call whose reply was lost.
    await domains.delete(author, slug)


def check_may_delete(own: Identity, author: str) -> None:
    """Raise Forbidden unless the caller may delete domains of this author."""
    if own.subject != author:
        raise Forbidden(
            f"only {names.shown(author)} can delete this domain; log in as its author, and try"
            " again"
        )
    _check_scope(own, "delete")


def _author(scope: str, slug: str) -> str:
    """The author of the domain `scope/slug`. Raises DomainNotFound if no domain has this name."""
    author = scope.removeprefix("@")
    if author == scope or not (names.is_repo_name(author) and names.is_repo_name(slug)):
        raise DomainNotFound()
    return author


def _check_author(own: Identity, request: PublishDomain) -> None:
    if own.subject != request.author_slug:
        raise Forbidden(
            f"a domain is published under the handle of its token, which is {own.subject}: send"
            f' "author_slug": "{own.subject}", or log in as {names.shown(request.author_slug)}'
        )
    _check_scope(own, "publish")


def _check_scope(own: Identity, verb: str) -> None:
    if own.repo or not own.scope.allows(Role.WRITE):
        raise Forbidden(
            f"to {verb} a domain needs a token of scope write that is not limited to one repository"
        )


def _record(request: PublishDomain, now: int) -> dict[str, Any]:
    """The record to store: the fields of the request and those that the hub adds."""
    parse(Capabilities, request.capabilities, "the capabilities")
    if codec.holds_bytes(request.capabilities):
        raise Unprocessable("the capabilities hold binary data; send text, numbers, lists and maps")
    manifest = _serialized(request.capabilities)
    if len(manifest) > CAPABILITY_BYTES:
        raise TooLarge(
            f"the capabilities have {len(manifest)} bytes as JSON, and {CAPABILITY_BYTES} is the"
            " limit; shorten the descriptions"
        )
    return {
        "domain_id": str(uuid.uuid4()),
        "scoped_id": f"@{request.author_slug}/{request.slug}",
        **request.model_dump(),
        "manifest_hash": sha256(manifest).hexdigest(),
        "published_at": now,
    }


def _serialized(capabilities: Mapping[str, Any]) -> bytes:
    """The capabilities as their hash covers them: equal maps have equal bytes."""
    return json.dumps(
        capabilities, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    ).encode()


def _row(record: Mapping[str, Any]) -> Domain:
    return Domain(
        record["author_slug"], record["slug"], record["version"], codec.pack_record(record)
    )


def _content(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in _OF_ONE_VERSION}


def _order(version: str) -> tuple[list[int], bool, list[tuple[bool, int, str]]]:
    """A value that orders versions as semver.org does. The build after `+` does not count."""
    core, _, pre = version.partition("+")[0].partition("-")
    numbers = [int(number) for number in core.split(".")]
    labels = [_label(label) for label in pre.split(".") if label]
    return numbers, not labels, labels


def _label(label: str) -> tuple[bool, int, str]:
    """A number is below a word."""
    is_number = _NUMBER.fullmatch(label) is not None
    return not is_number, int(label) if is_number else 0, label
