"""Bugs in gc, expunge, repack and prebuilt clones."""

from tests.mutants.planting import bug, delete, move_before, never, replace, without
from tests.mutants.suites import CLONES, EXPUNGE, GC, GC_STORIES, REPACK

COLLECTION = [
    bug("gc has no grace period",
        "shared/maintenance/gc_plan.py", replace("4 * STALE_SECONDS", "0"), by=[GC_STORIES]),
    bug("gc ignores the logged moves",
        "shared/maintenance/roots.py::find_roots", delete("roots.update(move.kept)"), by=[GC]),
    bug("gc deletes a row that was written again",
        "shared/metadata/scans.py::Scans.remove",
        replace("self.table.delete(*___)", "self.table.delete(key)"), by=[GC]),
    bug("gc deletes what an unmarked row references",
        "shared/maintenance/gc_scan.py::scan_for_sweep",
        delete(
            "roots |= {___ for entry in commits"
            " if entry.address and entry.run_id != lease.run_id}"
        ),
        by=[GC]),
    bug("gc lists young packs before it reads the rows",
        "shared/maintenance/gc_scan.py::scan_for_condemn", move_before("young = ___", "commits = ___"),
        by=[GC_STORIES]),
    bug("gc deletes bytes that were just written",
        "shared/maintenance/gc_plan.py::plan_collect",
        replace("[one for one in scan.packs if one.modified < before]", "scan.packs"), by=[GC]),
    bug("a prebuilt clone is registered after gc went on",
        "shared/metadata/prebuilt_clones.py::PrebuiltClones.put",
        without("as_far_as(self.repo_id, since)"), by=[CLONES]),
    bug("gc does not record that it deletes bytes",
        "shared/maintenance/lease.py::Step", replace("'collecting'", "'swept'"), by=[CLONES]),
    bug("gc trusts the clock of the process that registered a prebuilt clone",
        "shared/maintenance/gc_plan.py::_dead_clones",
        replace("scan.clone.named_in == scan.run_id", "scan.clone.made_at >= before"),
        by=[CLONES]),
]  # fmt: skip

EXPUNGES = [
    bug("an expunge does not wait",
        "shared/maintenance/expunge.py", replace("2 * STALE_SECONDS", "0"), by=[EXPUNGE]),
    bug("an expunge waits for requests, but not for stale readers",
        "shared/maintenance/expunge.py", replace("2 * STALE_SECONDS", "STALE_SECONDS"),
        by=[EXPUNGE]),
    bug("an expunge overlooks a push that came while it waited",
        "shared/maintenance/expunge.py::_is_written_again",
        never("any(row.run_id != lease.run_id for row in selection.rows)"), by=[EXPUNGE]),
    bug("an expunge that was interrupted forgets the commits that reference its objects",
        "shared/maintenance/expunge_selection.py::_commits",
        replace("set(wanted) | (marked_commits - found.live.commits)", "set(wanted)"), by=[EXPUNGE]),
    bug("an expunge overlooks the pack of a push without rows",
        "shared/maintenance/expunge.py::_remove",
        never("any(pack.modified >= before for pack in packs.values())"), by=[EXPUNGE]),
    bug("an expunge overlooks the large object of a push without rows",
        "shared/maintenance/expunge.py::_remove", without("await rewrite.is_loose_since(*___)"),
        by=[EXPUNGE]),
    bug("an expunge leaves staged bodies",
        "shared/maintenance/rewrite.py::versions",
        delete("dead += await repository.quarantine.body_versions()"), by=[EXPUNGE]),
    bug("a branch is restored to an expunged commit",
        "shared/model.py::Move.kept", without("at.commit_id not in self.expunged"),
        by=[EXPUNGE]),
]  # fmt: skip

REPACKS = [
    bug("a repack goes on writing after it lost its lease",
        "shared/metadata/scans.py::Scans.repoint",
        replace("[ours, *rows]", "[Update(ours.key, {'at': turn.at}), *rows]"), by=[REPACK]),
    bug("a repack overwrites what a push has just written",
        "shared/metadata/scans.py::_repointed",
        replace("every(*___)", "None"),
        by=[REPACK]),
    bug("a repack runs beside gc",
        "shared/maintenance/lease.py::check_gc_may_start",
        replace("BESIDE", "BESIDE.keys() - {Step.REPACKING}"),
        by=[REPACK]),
    bug("a repack leaves records that are also stored in rows",
        "shared/maintenance/combined_pack.py::_keep", replace("used = ___", "used = []"), by=[REPACK]),
    bug("a repack puts the later of two records first",
        "shared/maintenance/repack_scan.py::scan_for_repack",
        replace("ambiguous = await _ambiguous(*___)", "pass"), by=[REPACK]),
]  # fmt: skip

BUGS = [*COLLECTION, *EXPUNGES, *REPACKS]
