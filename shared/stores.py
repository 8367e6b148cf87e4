"""The stores of the hub, and of one repository. `shared/engines/selection` opens them."""

from collections import Counter
from dataclasses import dataclass, field

from shared.budget import Budget
from shared.keyring import Keyring, Keyrings
from shared.limits import Limits
from shared.metadata.commits import Commits
from shared.metadata.due import DueWork
from shared.metadata.expiring import Counters
from shared.metadata.handles import Handles
from shared.metadata.index import Index
from shared.metadata.members import Members
from shared.metadata.prebuilt_clones import PrebuiltClones
from shared.metadata.refs import Refs
from shared.metadata.releases import Releases
from shared.metadata.repos import Repos
from shared.metadata.scans import Scans
from shared.metadata.table import Table
from shared.metadata.tags import Tags
from shared.metadata.tokens import Tokens
from shared.metadata.visits import Visits
from shared.model import Repo, RepoId
from shared.objects.bucket import Bucket
from shared.objects.quarantine import Quarantine
from shared.objects.recent import Recent
from shared.objects.store import REMEMBERED_BYTES, ObjectStore
from shared.quotas import Quotas
from shared.settings import Settings


@dataclass(frozen=True, slots=True)
class RepoStores:
    """A repository and its stores. Each store holds the id, so no call needs it."""

    stores: "Stores"
    """The stores of the whole hub."""
    repo: Repo
    refs: Refs
    prebuilt_clones: PrebuiltClones
    commits: Commits
    index: Index
    releases: Releases
    tags: Tags
    objects: ObjectStore
    quarantine: Quarantine
    scans: Scans

    @property
    def repo_id(self) -> RepoId:
        """The id of the repository."""
        return self.repo.repo_id


@dataclass(frozen=True, slots=True)
class Stores:
    """The stores of the hub, and the settings with which they were opened."""

    settings: Settings
    keyring: Keyring
    """Verifies tokens, and signs cursors and references."""
    signer: Keyring
    """Signs tokens. Only the functions that issue tokens can read its keys."""
    client_secrets: Keyring
    """The secrets of the hub at its identity providers. Only `account` can read them."""
    repos: Repos
    members: Members
    tokens: Tokens
    handles: Handles
    counters: Counters
    budget: Budget
    quotas: Quotas
    due: DueWork
    visits: Visits
    hub: Table
    bucket: Bucket
    recent: Recent
    costly_clones: Counter[RepoId] = field(default_factory=Counter)
    """Costly clones of this process that are not added to a row yet (see `clone_counts`)."""
    limits: Limits = field(default_factory=Limits)

    @classmethod
    def on(
        cls,
        settings: Settings,
        keyrings: Keyrings,
        hub: Table,
        counter_table: Table,
        bucket: Bucket,
    ) -> "Stores":
        """Return the stores on these tables and this bucket, of any engine."""
        counters = Counters(counter_table)
        return cls(
            settings=settings,
            keyring=keyrings.verifying,
            signer=keyrings.signing,
            client_secrets=keyrings.clients,
            repos=Repos(hub),
            members=Members(hub),
            tokens=Tokens(hub),
            handles=Handles(hub),
            counters=counters,
            budget=Budget.of(settings, counters),
            quotas=Quotas(settings, counters),
            due=DueWork(hub),
            visits=Visits(hub),
            hub=hub,
            bucket=bucket,
            recent=Recent(REMEMBERED_BYTES),
        )

    def of(self, repo: Repo) -> RepoStores:
        """Return the stores of a repository. This makes no call."""
        repo_id = repo.repo_id
        return RepoStores(
            stores=self,
            repo=repo,
            refs=Refs(self.hub, repo_id),
            prebuilt_clones=PrebuiltClones(self.hub, repo_id),
            commits=Commits(self.hub, repo_id, self.limits),
            index=Index(self.hub, repo_id, self.limits),
            releases=Releases(self.hub, repo_id),
            tags=Tags(self.hub, repo_id, self.limits),
            objects=ObjectStore(self.bucket, repo_id, self.recent),
            quarantine=Quarantine(self.bucket, repo_id),
            scans=Scans(self.hub, repo_id),
        )
