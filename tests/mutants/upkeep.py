"""Bugs in the automatic upkeep."""

from tests.mutants.planting import always, bug, delete, never, replace, without
from tests.mutants.suites import UPKEEP, UPKEEP_CRASHES

LISTING = [
    bug("a forced push lists no gc",
        "shared/metadata/due.py::after_move", never("move.before and move.forced"), by=[UPKEEP]),
    bug("each push lists a repack",
        "shared/metadata/due.py::after_move",
        always("move.after.generation // REPACK_GENERATIONS > before"), by=[UPKEEP]),
    bug("each change of a day is a row of its own",
        "shared/metadata/due.py::later", replace("at + -at % DAY_SECONDS", "at"), by=[UPKEEP]),
    bug("a push that lost its swap lists no gc",
        "shared/actions/push.py::_accept",
        delete("await repository.stores.due.put([lost])"), by=[UPKEEP]),
    bug("an undeleted repository is not checked any more",
        "shared/metadata/repos.py::Repos.undelete",
        without("Update(*due.first_check(new.repo_id, now).row)"), by=[UPKEEP]),
    bug("a pull counts as a clone",
        "functions/fetch.py::post_fetch",
        replace("clone_counts.count(access.repository, fetched) if not message.have else 0",
                "clone_counts.count(access.repository, fetched)"),
        by=[UPKEEP]),
]  # fmt: skip

RUNS = [
    bug("a gc satisfies work that became due after it started",
        "shared/maintenance/upkeep.py::_tidy",
        replace("[one for one in collected if one.at <= start]", "collected"), by=[UPKEEP]),
    bug("a repack stops a gc that is between two steps",
        "shared/maintenance/upkeep.py::_tidy",
        without("following.step is Step.CONDEMNED"), by=[UPKEEP]),
    bug("work that is done is forgotten before what follows is listed",
        "shared/maintenance/upkeep.py::_Job.finish",
        replace("if following: ___", "await self.stores.due.remove(done)\ndone = ()\nif following:\n"
                "    await self.stores.due.put(following)"),
        by=[UPKEEP_CRASHES]),
    bug("two runs visit one repository at the same time",
        "shared/metadata/visits.py::Visits.start",
        replace("every(is_free, may_start)", "may_start"), by=[UPKEEP]),
    bug("work that failed is tried again at once",
        "shared/metadata/visits.py::Visits.start",
        replace("every(is_free, may_start)", "is_free"), by=[UPKEEP]),
    bug("a visit starts at the end of a slice",
        "shared/maintenance/upkeep.py::run", never("not time.has_time"), by=[UPKEEP]),
    bug("each part of a check reads everything",
        "shared/maintenance/fsck.py::Sample.has",
        replace("number * self.parts >> 32 == self.part", "True"), by=[UPKEEP]),
    bug("a check that takes too long starts again as it was",
        "shared/maintenance/upkeep.py::_check",
        never("due.parts < MAX_PARTS and job.slice.left_seconds <= 0"), by=[UPKEEP]),
    bug("a deleted repository is purged before it can be restored",
        "shared/maintenance/purge.py::purge_if_due",
        replace("deleted_at <= now - UNDELETE_SECONDS", "True"), by=[UPKEEP]),
]  # fmt: skip

BUGS = [*LISTING, *RUNS]
