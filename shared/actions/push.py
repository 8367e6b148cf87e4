"""A push: bytes, then records, then the pointer. The swap of the ref is its only commit point.

    1  check the bundle by itself: ids, names, shapes                     (no call)
    2  read the refs, and look up the ids of the bundle        ─┐
    3  check for fast-forward against the refs                  ├ nothing is written before this
    4  if needed, read the manifest of a parent, look up more  ─┘ point
    5  write bytes and rows (`push_plan`)                      crash: nothing reaches them
    6  write the rows of commits by id, parents first, and     crash: the commits are known and
       log the move                                            complete, on no branch
    7  swap the ref, if it is as it was in step 2              done

The same push after a crash at any point finds the earlier writes, and continues.
docs/design/push.md has the invariants.
"""

from dataclasses import replace

from shared import names
from shared import pushed_bundle as bundles
from shared.actions import push_checks, push_plan, quarantine, repos
from shared.actions.moves import Cause, planned
from shared.actions.push_checks import Pushed
from shared.actions.push_plan import Existing, WritePlan
from shared.errors import NotFastForward, Unavailable
from shared.metadata.due import GC_AFTER_MOVE_SECONDS, Work, later
from shared.metadata.refs import RefChanged
from shared.model import CommitId, Move, Ref
from shared.protocol.push import Push, PushReply
from shared.pushed_bundle import PushedBundle
from shared.stores import RepoStores
from shared.tasks import gather_all, gather_pair

REPLY_BRANCHES = 100
"""The reply contains the heads of all branches up to this number; else only the pushed one."""
SWAPS = 4
"""The number of swaps that are tried while other pushes move the ref."""


async def push(repository: RepoStores, request: Push, *, by: str, now: float) -> PushReply:
    """Store a bundle and move the branch to its head. Returns the reply.

    Nothing is written before all checks, except for uploads that UploadsPending reports as stored.
    Only the swap can find a lost race. Raises InvalidName, HashMismatch, MissingReference,
    BranchClash, NotPortable, TooLarge, QuotaReached, Unprocessable, NotFastForward with the current
    head, and UploadsPending if the push has to be sent again.

    Budget: 9 AWS calls, chain of 5 (push, 1 commit, nothing else).
    Budget: 10 AWS calls, chain of 6 (push, 1 commit, 10 files, objects already stored).
    Budget: 11 AWS calls, chain of 7 (push, 1 commit, 400 files, objects already stored).
    Budget: 6 AWS calls, chain of 3 (push, refused).
    """
    bundle = bundles.check(request)
    head = bundle.head(request)
    existing = await _existing(repository, bundle, head)
    pushed = Pushed(bundle, request.branch, head, request.force, by, now, existing)
    warnings = [push_checks.check_portable(repository.repo, pushed)]
    await _accept(repository, pushed)
    if by == repository.repo.owner:
        warnings.append(repository.stores.quotas.warning(by))
    heads = {pushed.branch: head}
    if len(existing.refs) <= REPLY_BRANCHES:
        heads = {name: ref.head.commit_id for name, ref in existing.refs.items()} | heads
    message = "; ".join(filter(None, [f"{pushed.branch} is at {head}", *warnings]))
    return {"ok": True, "message": message, "branch_heads": heads, "remote_head": head}


async def _existing(repository: RepoStores, bundle: PushedBundle, head: CommitId) -> Existing:
    """Step 2, in one step of calls."""
    named = push_checks.looked_up_at_first(
        push_checks.objects_of(bundle), repository.stores.limits.few_objects
    )
    refs, known = await gather_pair(
        repository.refs.all(),
        repository.index.known(
            commits=bundle.commits.keys() | bundle.outside_parents() | {head},
            snapshots=bundle.snapshots.keys() | bundle.named_snapshots(),
            objects=bundle.objects.keys() | named,
        ),
    )
    # The refs can be newer than the index.
    commits = known.commits | {ref.head.commit_id: ref.head for ref in refs.values()}
    return Existing(refs, commits, known.snapshots, known.objects)


async def _accept(repository: RepoStores, pushed: Pushed) -> None:
    """Steps 3 to 7."""
    existing = pushed.existing
    current = existing.refs.get(pushed.branch)
    names.check_room_for_branch(pushed.branch, existing.refs)
    names.check_no_branch_clash(pushed.branch, existing.refs)
    push_checks.check_connected(pushed)
    _check_sizes(pushed, repository.stores.settings.max_object_bytes)
    changed = await push_checks.changed_commits(repository, pushed)
    if not pushed.is_forced:
        await push_checks.check_fast_forward(repository, pushed, current)
    missing = await push_checks.missing_objects(repository, pushed)
    uploads = await quarantine.verified(
        repository, pushed.bundle, missing, by=pushed.by, now=pushed.now
    )

    repo = await repos.create_if_absent(repository.stores, repository.repo, int(pushed.now))
    repository = repository.stores.of(repo)
    plan = push_plan.plan_writes(
        pushed.branch,
        pushed.bundle,
        existing,
        changed,
        uploads,
        repository.stores.limits,
    )
    repository.stores.quotas.check(repo.owner, plan.stored_bytes)
    _, last = await gather_pair(
        push_plan.execute(plan, repository, int(pushed.now)),
        _last_step(repository, pushed.branch, current),
    )
    new, move = _next_ref(pushed, plan, current, last)
    stored = repository.stores.quotas.count(
        repo.owner, plan.stored_bytes, len(plan.object_rows), int(pushed.now)
    )
    await gather_all([_publish(repository, plan, existing, move), stored])
    try:
        await _swap(repository, pushed, new, current, move)
    except NotFastForward:
        # Its rows are on no branch. The logged move keeps them as long as any other move.
        lost = later(Work.GC, repo.repo_id, pushed.now, GC_AFTER_MOVE_SECONDS)
        await repository.stores.due.put([lost])
        raise


def _check_sizes(pushed: Pushed, max_object_bytes: int) -> None:
    sizes = {
        object_id: len(content)
        for object_id, content in pushed.bundle.objects.items()
        if object_id not in pushed.existing.objects
    }
    bundles.check_sizes(sizes, max_object_bytes, pushed.bundle)


async def _last_step(
    repository: RepoStores, branch: str, current: Ref | None
) -> tuple[str, int] | None:
    """The greatest logged step of a new branch, which may have existed before, and its time.

    The row of an existing branch contains it.
    """
    if current:
        return None
    return await repository.refs.last_step(branch)


def _next_ref(
    pushed: Pushed, plan: WritePlan, current: Ref | None, last: tuple[str, int] | None
) -> tuple[Ref, Move]:
    """The new row of the branch, and the log entry of its move."""
    node = plan.nodes.get(pushed.head)
    if node:
        address = node.address
    else:
        address = pushed.existing.commits[pushed.head]
    snapshot_at = node.snapshot_at if node else None
    cause = Cause(pushed.by, pushed.now, pushed.is_forced)
    move = planned(pushed.branch, current, last, address, cause)
    move = replace(move, rungs=push_plan.rungs(plan.nodes, pushed.head))
    return Ref(pushed.branch, address, snapshot_at, move.step, move.at), move


async def _publish(repository: RepoStores, plan: WritePlan, existing: Existing, move: Move) -> None:
    """Step 6. A log entry before the swap: a move that was made is never missing in the log."""
    new = [node.address for i, node in plan.nodes.items() if i not in existing.commits]
    writes = [repository.index.put_addresses(new)]
    if move.before != move.after:
        writes.append(repository.refs.log_move(move))
    await gather_all(writes)


async def _swap(
    repository: RepoStores,
    pushed: Pushed,
    new: Ref,
    current: Ref | None,
    move: Move,
) -> None:
    """Step 7. If the branch moved meanwhile, check against its new head, and try again.

    Raises NotFastForward with the head of the winner.
    """
    for _ in range(SWAPS):
        if current and current.head == new.head:
            return
        try:
            await repository.refs.swap(new, current, by=move.by, now=int(pushed.now))
            return
        except RefChanged as changed:
            current = changed.ref
        if not move.forced:
            await push_checks.check_fast_forward(repository, pushed, current)
        if current is None:
            # The branch was deleted: a folder of its name may have become a branch.
            await repository.refs.mark_folders(new.branch, int(pushed.now))
        last = await _last_step(repository, new.branch, current)
        cause = Cause(move.by, pushed.now, move.forced)
        move = replace(planned(new.branch, current, last, new.head, cause), rungs=move.rungs)
        new = replace(new, step=move.step, moved_at=move.at)
        await repository.refs.log_move(move)
    raise Unavailable(
        f"{new.branch} is being pushed to by many at once; nothing is lost, push again"
    )
