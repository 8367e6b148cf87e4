"""Bugs that a person might make, each planted in a copy of the tree, and the test that catches it.

    python -m tests.mutants                    all of them, as a table; 1 if one survives or does not apply any more
    python -m tests.mutants "gc without"       those whose description has these words

Each test that caught a bug runs once more at the end, on the copy without any bug: there it must
pass.
"""

# ruff: noqa: E501 (code is quoted as it stands)

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
COPIED = (
    "functions",
    "shared",
    "infra",
    "tests",
    "bench",
    "pyproject.toml",
    "template.yaml",
    "README.md",
    "CONTRIBUTING.md",
    "docs",
)
SECONDS = 900
"""A test that a bug sends round in circles is stopped: that, too, is noticed."""

FAULTS = (
    "tests/proof/test_faults.py::test_whatever_goes_wrong_it_is_done_or_not_and_can_be_done_again"
)
SIMULATION = "tests/proof/test_simulation.py"
GC = "tests/shared/maintenance/test_gc.py"
REPACK = "tests/shared/maintenance/test_repack.py"
BUNDLES = "tests/shared/maintenance/test_prebuilt_clones.py"
RACES = "tests/test_races.py"
NAMES = "tests/shared/test_names.py"
CASES = "tests/test_cases"
TABLE = "tests/shared/metadata/test_table.py"
INTERLEAVINGS = "tests/shared/actions/test_interleavings.py"
NEGOTIATE = "tests/shared/actions/test_negotiate.py"


@dataclass(frozen=True)
class Bug:
    """A bug: in which file, what stands there, what stands there instead; and where it should be
    noticed.
    """

    what: str
    file: str
    patches: tuple[tuple[str, str], ...]
    tests: tuple[str, ...]


def bug(what: str, file: str, *patches: tuple[str, str], by: tuple[str, ...]) -> Bug:
    """A bug of one patch or more."""
    return Bug(what, f"shared/{file}.py", patches, by)


BUGS = [
    # ── Order: bytes, then records, then the pointer ──
    bug("rows before the bytes they name", "actions/push",
        ("        await put_bytes()\n        await put_rows()", "        await put_rows()\n        await put_bytes()"),
        by=(f"{FAULTS}[a-merge]",)),
    bug("the ref before the rows that say its commits are known", "actions/push",
        ("    await _swap(stores, repo, bundle, held, new, current, move, now)\n    return new", "    return new"),
        ("    await all_of(\n        [\n            stores.index.put_places",
         "    await _swap(stores, repo, bundle, held, new, current, move, now)\n"
         "    await all_of(\n        [\n            stores.index.put_places"),
        by=(f"{FAULTS}[a-merge]",)),
    bug("many commits are known in any order", "metadata/index",
        ("            await self.table.put_all_new(rows, GONE)", "            await self.table.put(rows)"),
        by=("tests/proof/test_faults.py::test_nothing_leans_on_what_a_dead_push_has_not_written",)),
    bug("a transaction that another is in the way of is not tried again", "metadata/table",
        ('"TransactionConflict", ', ""), by=("tests/shared/metadata/test_table.py",)),
    bug("a snapshot's row before those of its objects", "actions/push",
        ("        if objects or taken:\n            await stores.index.put_locations(repo.repo_id, objects | taken)\n", ""),
        ("                stores.commits.put(repo.repo_id, nodes.values(), now),\n            ]\n        )\n",
         "                stores.commits.put(repo.repo_id, nodes.values(), now),\n            ]\n        )\n"
         "        await stores.index.put_locations(repo.repo_id, objects | taken)\n"),
        by=("tests/test_crashes.py",)),
    bug("objects of a chunk are known before they are stored", "actions/uploads",
        ("        await parcel.put(stores, repo)\n        await stores.index.put_locations(repo.repo_id, parcel.locations)",
         "        await stores.index.put_locations(repo.repo_id, parcel.locations)\n        await parcel.put(stores, repo)"),
        by=(f"{FAULTS}[a-chunk]",)),
    bug("a move is announced after it is made", "actions/branches",
        ("    await stores.refs.announce(repo.repo_id, move)\n    try:\n        await stores.refs.remove(repo.repo_id, ref)",
         "    try:\n        await stores.refs.remove(repo.repo_id, ref)\n        await stores.refs.announce(repo.repo_id, move)"),
        by=("tests/proof/test_faults.py::test_a_branch_that_is_gone_can_be_brought_back_whatever_died",)),
    bug("a move that was announced and not made is shown", "actions/moves",
        ("            return move.step == self.wanted", "            return True"), by=("tests/proof/test_moves.py",)),
    bug("moves are dated by a clock that was set back", "actions/moves",
        ("at=max(int(now * 1000), current.moved_at if current else 0, at),", "at=int(now * 1000),"), by=("tests/proof/test_moves.py",)),
    bug("a branch that is created again counts its moves anew", "actions/push",
        ('    return ("", 0) if current else await stores.refs.last_step(repo.repo_id, branch)', '    return ("", 0)'),
        by=("tests/proof/test_moves.py",)),
    bug("a mark of a time to come counts until then", "metadata/refs",
        ("        if marked_at > now:\n", "        if False:\n"), by=("tests/shared/metadata/test_refs.py",)),
    bug("a push is not announced at all", "actions/push",
        ("*([stores.refs.announce(repo.repo_id, move)] if move.before != move.after else []),", ""),
        by=("tests/functions/test_branches.py",)),

    # ── The pointer ──
    bug("a branch moves wherever it is", "metadata/refs",
        ('_UNCHANGED = "#head = :expected AND (', '_UNCHANGED = "attribute_exists(#head) OR #head = :expected AND ('),
        by=("tests/shared/metadata/test_refs.py", SIMULATION)),
    bug("a branch is created over another", "metadata/refs",
        ("_ABSENT = \"attribute_not_exists(#head) AND (", "_ABSENT = \"attribute_not_exists(#none) AND ("),
        by=("tests/shared/metadata/test_refs.py", SIMULATION)),
    bug("no fast-forward check", "actions/push", ("    if search.found is None:", "    if False:"), by=(f"{CASES}/test_pointer.py",)),
    bug("no fast-forward check after a lost race", "actions/push",
        ("            if not move.forced:\n", "            if False:\n"), by=(RACES, SIMULATION)),
    bug("a swap whose answer was lost is a lost race", "metadata/refs",
        ("            if current is None or current.head != new.head:", "            if True:"),
        by=("tests/shared/metadata/test_refs.py", f"{FAULTS}[a-merge]")),
    bug("a refused head is another than the one in the way", "errors",
        ("{branch[:80]} is at {current}, which", "{branch[:80]} is at {current[::-1]}, which"), by=(f"{CASES}/test_pointer.py",)),
    bug("a forced push leaves a child on the stored record of its parent", "actions/push",
        ("        if stored != sent or not changed.isdisjoint(bundle.commits[commit_id].parents):", "        if stored != sent:"), by=(f"{CASES}/test_pointer.py",)),
    bug("a push visits each way through its merges", "actions/push",
        ("[p for p in bundle.commits[commit_id].parents if p not in reached]", "[*bundle.commits[commit_id].parents]"), by=(f"{CASES}/test_pointer.py",)),
    bug("a branch whose row has no snapshot stands for none", "actions/push",
        (" for ref in held.refs.values() if ref.snapshot_at}", " for ref in held.refs.values()}"), by=(f"{CASES}/test_push.py",)),
    bug("a branch beside its folder", "actions/push",
        ("    names.check_no_branch_clash(request.branch, held.refs)\n", ""), by=("tests/proof/test_name_validation.py",)),
    bug("branches that differ in letter case only", "names",
        ("        key = fold(other)\n", "        key, folded = other, name\n"), by=(NAMES,)),
    bug("the folded name of a branch is not marked", "metadata/refs",
        ("[] if folded == branch else", "[] if folded else"), by=("tests/shared/metadata/test_refs.py",)),
    bug("a branch is named like a commit", "names",
        ('    if _DIGEST_LIKE.fullmatch(name.partition("/")[0]):', "    if False:"), by=(NAMES, f"{CASES}/test_downloads.py")),
    bug("a branch hides the commit whose id is its name", "actions/resolve",
        ("    ids = {name for name in wanted if names.is_digest(name)}", "    ids = set[str]()"), by=("tests/functions/test_commits.py",)),
    bug("folders are not marked", "actions/push",
        ("[stores.refs.mark_folders(repo.repo_id, branch, now)]", "[]"), by=(RACES, SIMULATION)),
    bug("a repository is created over another", "metadata/repos",
        ('_FREE = "attribute_not_exists(#repo_id) OR #deleted_at > :never"', '_FREE = "attribute_not_exists(#none) OR #deleted_at > :never"'),
        by=("tests/functions/test_repos.py", RACES)),

    # ── What a push leans on ──
    bug("parents need not be there", "actions/push",
        ("    if unknown := bundle.outside_parents() - held.commits.keys():", "    if unknown := set[str]():"),
        by=(f"{CASES}/test_push.py", f"{CASES}/test_integrity.py")),
    bug("snapshots need not be there", "actions/push",
        ("    if unknown := named - bundle.snapshots.keys() - held.snapshots.keys():", "    if unknown := set[str]():"),
        by=(f"{CASES}/test_push.py", f"{CASES}/test_integrity.py")),
    bug("objects need not be there", "actions/push",
        ("    missing = await _missing_objects(stores, repo, bundle, held)\n", "    missing = set[str]()\n"),
        by=(f"{CASES}/test_push.py", f"{CASES}/test_integrity.py")),

    # ── Staged bodies ──
    bug("a staged body is anybody's", "staging",
        ("access.repo.repo_id, access.by, route)", "access.repo.repo_id, reference.sub, route)"), by=(f"{CASES}/test_staging.py",)),
    bug("a staged body is for any route", "staging",
        ("access.repo.repo_id, access.by, route)", "access.repo.repo_id, access.by, reference.route)"), by=(f"{CASES}/test_staging.py",)),
    bug("a staged body is for any repository", "staging",
        ("access.repo.repo_id, access.by, route)", "reference.repo_id, access.by, route)"), by=(f"{CASES}/test_staging.py",)),
    bug("a staged body may have any length", "staging",
        ("    if stream.length != reference.size:", "    if False:"), by=(f"{CASES}/test_staging.py",)),
    bug("a reference never ends", "references",
        ("    if reference.exp <= now:", "    if False:"), by=(f"{CASES}/test_staging.py",)),
    bug("a staged body costs nothing", "staging",
        ("    await opened.objects.reserve_uploads([asked.size])\n", ""), by=(f"{CASES}/test_staging.py",)),
    bug("the expanded bytes of a body are not limited", "decoding",
        ("            if size > bound.max_bytes:", "            if False:"), by=(f"{CASES}/test_bodies.py",)),
    bug("bytes may follow a body", "codec",
        ("        if self._is_complete and self._unpacker.tell() < self._fed_bytes:", "        if False:"), by=("tests/shared/test_codec.py",)),
    bug("the expanded bytes of bodies are not counted", "decoding",
        ("            bound.hold(len(part))\n", ""), by=("tests/infra/test_slow_clients.py",)),
    bug("expunge leaves staged bodies", "maintenance/rewrite",
        ("    dead += await stores.objects.staged_versions(repo_id)\n", ""), by=("tests/proof/test_expunge.py",)),

    bug("a file of a push may be too large to be cloned", "actions/push",
        ("    bundles.check_sizes(new_sizes", "    0 and bundles.check_sizes(new_sizes"), by=("tests/test_ways_out.py",)),
    bug("an upload may be too large to be cloned", "actions/quarantine",
        ("        bundles.check_sizes(budget.large", "        0 and bundles.check_sizes(budget.large"), by=(f"{CASES}/test_quarantine.py",)),
    bug("a false upload is never asked for again", "actions/quarantine",
        (' if f"{object_id} {one.etag}" not in false}', "}"), by=(f"{CASES}/test_quarantine.py",)),
    bug("every absent object is looked for in S3", "actions/quarantine",
        ("    if len(waiting) > FEW:\n", "    if False:\n"), by=(f"{CASES}/test_quarantine.py",)),
    bug("a reply is as long as it likes", "codec",
        ("        if count and used > PAGE_BYTES:", "        if False:"), by=("tests/proof/test_largest_replies.py",)),
    bug("an upload is believed", "objects/store",
        ("        if digest.hexdigest() != object_id:\n            raise FalseUpload(", "        if False:\n            raise FalseUpload("),
        by=(f"{CASES}/test_presign.py",)),
    bug("an upload is copied as it is by now, not as it was checked", "objects/bucket",
        ("        if version.version_id:\n", "        if False:\n"), (", CopySourceIfMatch=version.etag", ""),
        by=(f"{CASES}/test_presign.py", "tests/shared/objects/test_store.py")),
    bug("an object is believed", "pushed_bundle",
        ("            if computed != object_id:", "            if computed == '':"), by=(f"{CASES}/test_integrity.py",)),
    bug("a snapshot is believed", "pushed_bundle",
        ("        if computed != snapshot_id:", "        if computed == '':"), by=(f"{CASES}/test_integrity.py",)),
    bug("a commit is believed", "pushed_bundle", ("        if computed != commit_id:", "        if False:"), by=(f"{CASES}/test_integrity.py",)),
    bug("a message with NUL stands for other parents", "pushed_bundle",
        ("    if ids.NUL in shaped.message or ids.NUL in shaped.committed_at:", "    if False:"), by=("tests/shared/test_pushed_bundle.py",)),
    bug("commits that are each other's ancestors", "pushed_bundle", ("    if done < len(commits):", "    if False:"), by=("tests/shared/test_pushed_bundle.py",)),
    bug("parents are hashed in the order they come", "ids", ("NUL.join(sorted(parents))", "NUL.join(parents)"), by=("tests/shared/test_ids.py",)),
    bug("tags on commits that are not there", "actions/tags",
        ("    unknown = {tag.commit_id for tag in tags.values()} - known.commits.keys()", "    unknown = set[str]()"), by=(f"{CASES}/test_tags.py",)),
    bug("the second writer wins", "metadata/table",
        ("**_only_if(_unless_there(stale), {}, values or {})\n                )", "**_only_if('', {}, {})\n                )"), by=(TABLE,)),

    # ── What a fetch sends ──
    bug("objects are subtracted that the client lacks", "graph/dag",
        ("parent for parent in parents if self._had[parent.commit_id]}", "parent for parent in parents}"), by=("tests/shared/graph/test_dag.py", SIMULATION)),
    bug("what the client has is sent again", "graph/dag",
        ("self._paint(parent, had=had or parent.commit_id in self._held)", "self._paint(parent, had=parent.commit_id in self._held)"), by=("tests/shared/graph/test_dag.py",)),
    bug("a walk ends one commit early", "graph/dag",
        ("        while self._wanted_pending and (top", "        while self._wanted_pending > 1 and (top"), by=("tests/shared/graph/test_dag.py",)),
    bug("a search gives up at the first commit of the last generation", "graph/dag",
        ("            if top.generation < self._floor:", "            if top.generation <= self._floor:"), by=("tests/shared/graph/test_dag.py",)),
    bug("a parent is only where its child says", "metadata/commits",
        ("in await self._elsewhere(repo_id, [start]):", "in list[Place]():"),
        by=("tests/proof/test_faults.py::test_nothing_leans_on_what_a_dead_push_has_not_written",)),
    bug("an unknown want is left out", "actions/fetch",
        ("        raise CommitNotFound(unknown)\n", "        want = [i for i in want if i not in unknown]\n"),
        by=(f"{CASES}/test_fetch.py",)),
    bug("a base is used unchecked", "actions/bases",
        ("if self._offered.get(snapshot_id) == sha256(record).hexdigest():", "if snapshot_id in self._offered:"),
        by=(f"{CASES}/test_bases.py",)),
    bug("a step is not closed under ancestry", "actions/fetch_history",
        ("oldest_first = difference.collected[::-1]", "oldest_first = difference.collected"), by=(f"{CASES}/test_fetch_steps.py",)),
    bug("a step is complete that was cut", "actions/fetch_history",
        (", is_complete=False)", ")"), by=(f"{CASES}/test_fetch_steps.py",)),
    bug("a compressed reply is cut off without a failure", "streaming",
        ("    if made != whole.size:\n", "    if made > whole.size:\n"), by=("tests/shared/test_streaming.py",)),
    bug("the ids of a bundle are believed", "actions/fetch",
        ("    if sha256(data).digest() != bundle.ids_digest:", "    if False:"), by=(BUNDLES,)),
    bug("a commit whose record is gone is left out", "actions/fetch",
        ("    if lost := [node for node in wanted if node.record is None and node.record_at is None]:", "    if lost := []:"), by=("tests/shared/actions/test_damaged_rows.py",)),
    bug("an object that is gone is left out", "actions/fetch", ("        raise Damaged(f\"object {lost_objects[0]}\")", "        pass"),
        by=("tests/proof/test_damage.py",)),
    bug("entries of two packs in one read", "packs", ("group and at.pack == group[0].pack and", "group and"), by=("tests/shared/test_packs.py",)),
    bug("a part of an object, from the beginning of its pack", "objects/store",
        ("self.bucket.get(key, location.offset + start, location.offset + stop)", "self.bucket.get(key, start, stop)"), by=(f"{CASES}/test_downloads.py",)),

    # ── What DynamoDB and S3 leave undone ──
    bug("what DynamoDB has not written is dropped", "metadata/table",
        ('            request = reply.get("UnprocessedItems")', "            request = None"), by=(TABLE, f"{FAULTS}[a-merge]")),
    bug("what DynamoDB has not read is dropped", "metadata/table",
        ('            left = reply.get("UnprocessedKeys", {}).get(self.name)', "            left = None"), by=(TABLE, f"{FAULTS}[clone]")),
    bug("the first page is all", "metadata/table",
        ("            after = page.last\n            if after is None:\n                return", "            after = page.last\n            if after is None or after:\n                return"), by=("tests/proof/test_pages.py", TABLE)),
    bug("the first page of S3's list is all", "objects/bucket",
        ('            if not reply.get("IsTruncated"):\n                return\n            marker', "            if True:\n                return\n            marker"),
        by=("tests/proof/test_pages.py",)),
    bug("rows are looked for in another shard than they are written to", "metadata/keys",
        ("return index(repo_id, kind, shard(item_id)), item_id", "return index(repo_id, kind, shard(item_id[1:])), item_id"), by=("tests/shared/metadata/test_index.py",)),
    bug("a query may see the past", "metadata/table",
        ("                ConsistentRead=", "                ConsistentRead=False and "), by=(SIMULATION,)),
    bug("a batch may see the past", "metadata/table", ('"ConsistentRead": not maybe_stale', '"ConsistentRead": False'), by=(SIMULATION,)),
    bug("a timeout is a bug of ours", "metadata/table",
        ("    except (TimeoutError, BotoCoreError, OSError) as error:", "    except (TimeoutError, OSError) as error:"), by=(TABLE, f"{FAULTS}[a-merge]")),
    bug("trouble that passes, and not a word when", "errors", ('super().__init__(message, {"Retry-After": "2"})', "super().__init__(message)"), by=(f"{FAULTS}[a-merge]",)),

    # ── gc ──
    bug("gc without grace", "maintenance/gc", ("GRACE_SECONDS = 4 * STALE_SECONDS", "GRACE_SECONDS = 0"), by=("tests/shared/maintenance/test_gc_stories.py",)),
    bug("a commit is known before its parents are", "metadata/index",
        ("            for key, row in rows:\n                await self.table.put_new(", "            for key, row in reversed(rows):\n                await self.table.put_new("),
        by=("tests/proof/test_faults.py::test_nothing_leans_on_what_a_dead_push_has_not_written",)),
    bug("gc does not look at moves", "maintenance/roots",
        ("            roots.update(move.kept)", "            pass"), by=(GC,)),
    bug("gc removes what has been written again", "metadata/scans",
        ('            await self.table.delete(key, _CONDEMNED_BY_STAMP, {"stamp": stamp})', "            await self.table.delete(key)"), by=(GC,)),
    bug("gc does not reprieve what stands on unmarked rows", "maintenance/gc",
        ("    roots |= {entry.place for entry in commits if entry.place and entry.stamp != stamp}\n", ""), by=(GC,)),
    bug("young packs are listed before the rows are read", "maintenance/gc",
        ("    # Listed before the roots are read", "    young = await _young(stores, repo_id, began)\n    # Listed before the roots are read"),
        ("    young = await _young(stores, repo_id, began)\n    snapshots = [entry", "    snapshots = [entry"),
        by=("tests/shared/maintenance/test_gc_stories.py",)),
    bug("a row counts wherever it lies", "graph/dag",
        ("        self.rows: dict[Place, Node] = {}\n", "        self.rows = _ById()\n"),
        ("class _Frontier:\n", "class _ById(dict):\n    def __contains__(self, place): return super().__contains__(place.commit_id)\n"
         "    def get(self, place): return super().get(place.commit_id)\n"
         "    def update(self, rows): super().update((p.commit_id, n) for p, n in rows.items())\n\n\nclass _Frontier:\n"),
        by=("tests/shared/graph/test_walk.py", "tests/shared/graph/test_dag.py")),
    bug("a push builds on what is condemned", "metadata/index", ("            if CONDEMNED in row and not even_condemned:", "            if False:"), by=(GC,)),
    bug("a bundle is named however late", "metadata/prebuilt_clones", ("[as_far_as(repo_id, since), Update(", "[Update("), by=(BUNDLES,)),
    bug("a collect does not say that it has begun", "maintenance/gc", ('COLLECTING = "collecting"', 'COLLECTING = "swept"'), by=(BUNDLES,)),
    bug("a collect believes the clock of who has named a bundle", "maintenance/prebuilt_clones",
        ("bundle.named_in == stamp:", "bundle.made_at >= before:"), by=(BUNDLES,)),
    bug("gc removes bytes that have just come", "maintenance/gc",
        ("        if name not in packs and one.modified < old:", "        if name not in packs:"), by=(GC,)),

    # ── Expunge ──
    bug("an expunge that does not wait", "maintenance/expunge", ("WAIT_SECONDS = 2 * STALE_SECONDS", "WAIT_SECONDS = 0"), by=("tests/proof/test_expunge.py",)),
    bug("an expunge that does not look for what was pushed meanwhile", "maintenance/expunge",
        ("    if any(has != stamp for _, has in doomed.rows):\n", "    if False:\n"), by=("tests/proof/test_expunge.py",)),
    bug("an expunge that was cut short forgets what stood on it", "maintenance/expunge",
        ("    commits = set(wanted) | (marked_commits - live.commits)", "    commits = set(wanted)"), by=("tests/proof/test_expunge.py",)),
    bug("an expunge that waits for requests, and not for stale readers", "maintenance/expunge",
        ("WAIT_SECONDS = 2 * STALE_SECONDS", "WAIT_SECONDS = STALE_SECONDS"), by=("tests/proof/test_expunge.py",)),
    bug("an expunge that overlooks the pack of a push without rows", "maintenance/expunge",
        ("any(pack.modified >= before for pack in holding.values())", "False"), by=("tests/proof/test_expunge.py",)),
    bug("an expunge that overlooks the large object of a push without rows", "maintenance/expunge",
        ("if is_packed_since or await rewrite.is_loose_since(stores, repo_id, loose, before):", "if is_packed_since:"), by=("tests/proof/test_expunge.py",)),
    bug("a restore to what was expunged", "model", ("if at and at.commit_id not in self.expunged)", "if at)"), by=("tests/proof/test_expunge.py",)),

    # ── Repack ──
    bug("a repack that was taken for dead goes on writing", "metadata/scans",
        ("update_together([ours, *rows])", 'update_together([Update(ours.key, {"at": turn.at}), *rows])'), by=(REPACK,)),
    bug("a repack overwrites what a push has just written", "metadata/scans",
        ('" AND ".join(f"#{attribute} = :old_{attribute}" for attribute in changes)', '""'),
        ('{f"old_{attribute}": old for attribute, (old, _) in changes.items()}', "{}"), by=(REPACK,)),
    bug("a repack beside gc", "maintenance/gc", ('    Step.REPACKING: "repack",\n', ""), by=(REPACK,)),
    bug("a repack leaves records behind that lie in rows as well", "maintenance/repack",
        ("        used = {item: at for item, at in index.items() if item[0] is Kind.COMMIT and item[1] in rows.commits}", "        used = {}"), by=(REPACK,)),
    bug("a repack puts the later of two records first", "maintenance/repack", ("        held |= await _ambiguous", "        await _ambiguous"), by=(REPACK,)),

    # ── Who may what ──
    bug("another algorithm than ours", "auth", ("algorithms=[ALGORITHM]", 'algorithms=["HS256", "HS384", "HS512"]'), by=("tests/shared/test_auth.py",)),
    bug("a token for another audience", "auth", ('aud: Literal["pieria"]', "aud: str"), ('"verify_iat": False,', '"verify_iat": False, "verify_aud": False,'), by=("tests/shared/test_auth.py",)),
    bug("a token that is good for as long as it claims", "auth", ("0 < claims.exp - claims.iat <= LIFETIME_SECONDS", "True"), by=("tests/shared/test_auth.py",)),
    bug("a token's id is any text", "auth", ("        and is_repo_name(claims.jti)\n", ""), by=("tests/shared/test_auth.py", f"{CASES}/test_auth.py")),
    Bug("a key signs before everybody knows it", "infra/cli/key.py",
        (("dict([*others, (key_id, secret), signing])", "dict([*others, signing, (key_id, secret)])"),), ("tests/infra/test_cli_keys.py",)),
    bug("a revoked token", "metadata/tokens", ('    if "revoked_at" in row:', "    if False:"), by=("tests/functions/test_tokens.py",)),
    bug("a private repository is seen by all", "auth",
        ("public = Role.READ if repo.visibility is Visibility.PUBLIC else None", "public = Role.READ"), by=("tests/test_authorization.py",)),
    bug("a stranger reads what a forced push removed", "auth",
        ("    return Sees.ALL if _own_role(repo, identity, member) else Sees.REACHED", "    return Sees.ALL"), by=("tests/functions/test_visible.py",)),
    bug("a forged cursor leads to what a forced push removed", "cursors",
        ("            return cursor\n    raise invalid()", "            return cursor\n    return sealed"), by=("tests/functions/test_visible.py",)),
    bug("a draft publishes a commit", "metadata/releases",
        ("for entry in entries if not entry.is_draft]\n        places", "for entry in entries]\n        places"), by=("tests/functions/test_visible.py",)),
    bug("a search for a commit ends at the first that it meets", "graph/dag",
        ("            if not self.missing:\n                break\n", "            if self.found:\n                break\n"), by=("tests/functions/test_visible.py",)),
    bug("a token for one repository is good for all", "auth",
        ('identity is None or identity.repo not in ("", f"{repo.owner}/{repo.slug}")', "identity is None"), by=("tests/test_authorization.py",)),
    bug("a token that may read, writes", "auth",
        ("return own if identity.scope.allows(own) else identity.scope", "return own"), by=("tests/test_authorization.py",)),
    bug("a cost is never settled", "budget", ("if self.pending.get(scope, 0) >= QUANTUM", "if False"), by=("tests/test_costs.py",)),
    bug("a limit of cost is no limit", "budget", ("        raise self.refusal(scope, now)\n\n    def refusal", "        return\n\n    def refusal"), by=("tests/test_costs.py",)),
    bug("a URL is given out before it is charged", "budget", ("            if spent > self.budget.limits.get(scope.kind, spent):", "            if False:"), by=("tests/test_costs.py",)),
    bug("a refused write is free", "meter", ("_CHARGED_FAILURES = (_CONDITION, _CANCELLED)", "_CHARGED_FAILURES = ()"), by=("tests/shared/test_meter.py",)),
    bug("the bytes of a reply are free", "prices", (" + DATA_OUT_BYTE * bytes_out", ""), by=("tests/shared/test_meter.py",)),
    bug("one request more than allowed", "ratelimit", ("    if count > allowance.requests:", "    if count > allowance.requests + 1:"), by=("tests/shared/test_ratelimit.py",)),

    # ── Two at once, and a second life of a name ──
    bug("a rename copies the members of an earlier repository of the name", "metadata/repos",
        ('            if row["roster"] == old.roster:\n', "            if row:\n"), by=(INTERLEAVINGS,)),
    bug("a rename does not see that the members have changed", "metadata/repos",
        ('f"{_LIVE} AND #revision = :seen",', "_LIVE,"), by=(INTERLEAVINGS,)),
    bug("a rename that begins again keeps the roster of its first try", "metadata/repos",
        ("        for _ in range(RENAMES):\n", "        unique = str(uuid.uuid4())\n        for _ in range(RENAMES):\n"),
        ("keys.roster(old.repo_id, str(uuid.uuid4()))", "keys.roster(old.repo_id, unique)"), by=(INTERLEAVINGS,)),
    bug("a grant counts under a roster that has changed", "metadata/repos",
        ('f"{_LIVE} AND #roster = :roster"', "_LIVE"), by=(INTERLEAVINGS,)),
    bug("the id of a deleted repository leads to the next one of its name", "http",
        ("    return (repo, role) if repo and repo.repo_id == repo_id else (None, None)", "    return repo, role"),
        by=(f"{CASES}/test_downloads.py",)),
    bug("a name from before leads to another repository of the present name", "metadata/repos",
        ("        return repo if repo and repo.repo_id == repo_id else None", "        return repo"), by=("tests/functions/test_repos.py",)),
    bug("the second move of a push that lost its race once is not logged", "actions/push",
        ("            await stores.refs.announce(repo.repo_id, move)\n    raise Unavailable", "    raise Unavailable"), by=(INTERLEAVINGS,)),
    bug("a retraction removes what was published after it began", "metadata/releases",
        ('            await self.table.delete(key, _THE_SAME, {"seen": place})', "            await self.table.delete(key)"), by=(INTERLEAVINGS,)),
    bug("a publication that came second leaves its entry", "metadata/releases",
        ("        await self._forget(repo_id, place)\n        return _packed(first)", "        return _packed(first)"), by=(INTERLEAVINGS,)),
    bug("a role in an earlier repository of the name counts", "metadata/repos",
        (' if member and member["roster"] == repo.roster else None', " if member else None"), by=(INTERLEAVINGS,)),
    bug("a first push builds on a repository that has been deleted", "metadata/repos",
        ("        if winner is None or winner.deleted:", "        if winner is None:"), by=(INTERLEAVINGS,)),
    bug("a rename does not see that the repository has been deleted", "metadata/repos",
        (' or row["deleted_at"]:', ":"), by=(INTERLEAVINGS,)),
    bug("a deletion that a push overtook is acknowledged", "metadata/refs",
        ('            raise Moved(_ref(expected.branch, lost.row) if lost.row and "head" in lost.row else None) from lost', "            raise Moved(None) from lost"),
        by=(INTERLEAVINGS,)),
    bug("a race for a branch that was a folder is a clash", "metadata/refs",
        ('            if current is None and lost.row and "marked_at" in lost.row:', '            if lost.row and "marked_at" in lost.row:'), by=(INTERLEAVINGS,)),
    bug("a restore leaves the folders of its branch open", "actions/branches",
        ("        await stores.refs.mark_folders(repo.repo_id, branch, int(now))\n", ""), by=(INTERLEAVINGS,)),
    bug("a branch is restored below another", "actions/branches",
        ("        names.check_no_branch_clash(branch, refs)\n", ""), by=(INTERLEAVINGS,)),
    bug("a branch is restored to where it is", "actions/branches",
        ("    if ref and ref.head.commit_id == place.commit_id:", "    if False:"), by=("tests/functions/test_branches.py",)),
    bug("a refused push is remembered for ever", "metadata/expiring",
        ('    if row is None or int(str(row["expires_at"])) <= now:', "    if row is None:"), by=(NEGOTIATE,)),
    bug("a refused commit of an opaque id is acknowledged", "actions/push",
        ("if i not in held.commits and names.is_digest(i)]\n    if new:", "if i not in held.commits]\n    if new:"), by=(NEGOTIATE,)),
    bug("a condemned commit is acknowledged", "actions/negotiate", (" and i not in known.condemned}", "}"), by=(NEGOTIATE,)),
    bug("a row of another type is an empty one", "metadata/attributes",
        ("    if not isinstance(value, list):\n        raise Damaged(f\"attribute {name} of {what}\")\n", "    if not isinstance(value, list):\n        return []\n"),
        by=("tests/shared/actions/test_damaged_rows.py",)),
    bug("keys that were read are logged as not read", "keyring",
        ("        if self._read_at != now and patience:", "        if patience:"), by=("tests/shared/test_keyring.py",)),
    bug("a known key is read every ten seconds", "keyring",
        ("FRESH_SECONDS if key_id in self._keys else PAUSE_SECONDS", "PAUSE_SECONDS"), by=("tests/shared/test_keyring.py",)),
    bug("a failure without an answer is not answered", "middleware",
        ('        if not answer.status and scope["failure"]:', "        if False:"), by=("tests/shared/test_http.py",)),
    Bug("a clone starts on a branch that it cannot open", "functions/refs.py",
        (('for branch in heads if "/" not in branch)', "for branch in heads)"),), (f"{CASES}/test_refs.py",)),
    bug("a token for one repository sees that another is absent", "http",
        ('identity.repo in ("", f"{owner}/{slug}") and names.is_handle', "names.is_handle"), by=("tests/functions/test_tokens.py",)),
    Bug("a token for every repository names an empty one", "functions/tokens.py",
        (("repo=own.repo or None", "repo=own.repo"),), ("tests/functions/test_tokens.py",)),
    bug("a part of an object that is too short is sent", "objects/store",
        ("        if len(data) != stop - start:\n", "        if False:\n"), by=("tests/proof/test_damage.py",)),
    bug("any path that begins as the health check's needs no secret", "middleware",
        ('if not secret or scope["path"] == HEALTH:', 'if not secret or scope["path"].startswith(HEALTH):'), by=("tests/shared/test_http.py",)),
    bug("an opaque id is an entity tag", "actions/downloads",
        ("        if self.is_fixed:\n            return self.object_id", "        if True:\n            return self.object_id"), by=(f"{CASES}/test_downloads.py",)),
    bug("a file of an opaque snapshot is immutable", "actions/downloads",
        (' and names.is_digest(node.snapshot_id or "")', ""), by=(f"{CASES}/test_downloads.py",)),

    # ── What strangers send ──
    bug(".GIT is not .git", "names", ('IGNORED_ON_HFS.sub("", path).casefold()', 'IGNORED_ON_HFS.sub("", path)'), by=(NAMES,)),
    bug("a file that is also a folder", "names", ("        if inner.startswith(folder):", "        if False:"), by=(NAMES,)),
    bug("a path that leads upwards", "names", (r"//|(?:^|/)\.\.?(?:/|$)", "//"), by=(NAMES,)),
    bug("an id with a line break at its end", "names", ("    return _DIGEST.fullmatch(value) is not None", '    return re.match(r"[0-9a-f]{64}$", value) is not None'), by=(NAMES,)),
    bug("a body as deep as it likes", "codec", ('    raise MalformedBody(f"the body nests deeper than', '    return\n    raise MalformedBody(f"the body nests deeper than'), by=("tests/shared/test_codec.py",)),
    bug("not a number", "codec", ('            elif kind is float and not float("-inf") < item < float("inf"):', "            elif kind is float and False:"), by=("tests/shared/test_codec.py",)),
    bug("folders of paths one by one", "names",
        ('    for folder, inner in pairwise(sorted(f"{path}/" for path in seen)):',
         '    for path in seen:\n        if any(folder in seen for folder in folders(path)):\n'
         '            raise InvalidName("a file and also a folder of it")\n'
         '    for folder, inner in pairwise(sorted(f"{path}/" for path in seen)):'),
        by=("tests/proof/test_hostile.py::test_the_largest_messages_take_a_moment",)),
    bug("a log line with the query in it", "middleware", ("            status=answer.status,\n", "            status=answer.status,\n            query=str(scope['query_string']),\n"),
        by=("tests/proof/test_secrets.py",)),
]  # fmt: skip


FAILED = "FIRST_FAILURE_FILE"


def pytest_runtest_logreport(report: Any) -> None:
    """As a plugin of the tests it runs: write down which of them fails."""
    if report.failed and FAILED in os.environ:
        Path(os.environ[FAILED]).write_text(report.nodeid)


def run(tree: Path, *tests: str) -> str:
    """The first of these tests that fails in a tree; empty if none does."""
    environment = {**os.environ, "SEEDS": "200", "GC_SCHEDULES": "1000"}
    options = (
        "-x",
        "-q",
        "--tb=no",
        "--show-capture=no",
        "-p",
        "no:cacheprovider",
        "-p",
        "tests.mutants",
    )
    note = tree.parent / "failed"
    note.unlink(missing_ok=True)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *tests],
            cwd=tree, env={**environment, FAILED: str(note)}, capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"{tests[0]} does not end"
    if done.returncode == 0:
        return ""
    return note.read_text() if note.exists() else f"{tests[0]} does not start"


def planted(text: str, one: Bug) -> str | None:
    """A file's text with a bug in it; None if what was to be changed is not there, or there
    twice.
    """
    for old, new in one.patches:
        if text.count(old) != 1:
            return None
        text = text.replace(old, new)
    return text


def plant(tree: Path, one: Bug) -> bool:
    """Put a bug into its file. False if it does not apply any more."""
    path = tree / one.file
    if (text := planted(path.read_text(), one)) is None:
        return False
    path.write_text(text)
    return True


def verdict(tree: Path, one: Bug) -> str:
    """The test that catches a bug; empty if it survives.

    Raises LookupError if the bug or the test is out of date.
    """
    before = (tree / one.file).read_text()
    for tests in one.tests:
        if not (tree / tests.partition("::")[0]).exists():
            raise LookupError(f"there is no {tests}")
    if not plant(tree, one):
        raise LookupError(f"does not apply to {one.file}")
    try:
        caught = next(filter(None, (run(tree, tests) for tests in one.tests)), "")
    finally:
        (tree / one.file).write_text(before)
    return caught


def broken(tree: Path, tests: set[str]) -> set[str]:
    """Those of these tests that fail in a tree without a bug."""
    found: set[str] = set()
    while tests > found:
        failed = run(tree, *sorted(tests - found))
        if not failed:
            break
        if failed not in tests:
            raise SystemExit(failed)
        found.add(failed)
    return found


def main(words: str) -> int:
    """Plant them, one after the other, and print the table. Returns the exit status."""
    chosen = [one for one in BUGS if words in one.what]
    verdicts: list[str] = []
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        tree.mkdir()
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(
                    ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__")
                )
            else:
                shutil.copy(ROOT / name, tree / name)
        for one in chosen:
            try:
                caught = verdict(tree, one)
                told = caught or "SURVIVED"
            except LookupError as error:
                caught, told = "", f"OUT OF DATE: {error.args[0]}"
            verdicts.append(caught)
            print(f"{one.what:66}  {told}", flush=True)
        failing = broken(tree, {caught for caught in verdicts if "::" in caught})
    for test in sorted(failing):
        print(f"fails without any bug, too: {test}")
    bad = sum(not caught or caught in failing for caught in verdicts)
    print(
        f"{len(chosen)} bugs, {len(chosen) - bad} caught, {bad} not;"
        f" {time.monotonic() - started:.0f} s"
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(" ".join(sys.argv[1:])))
