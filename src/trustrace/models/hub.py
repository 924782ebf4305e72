"""Checkpoints that are revisions of a Hugging Face hub repository: listed against what is known of them, pinned, fetched, let go."""

import difflib
import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import (
    CachedRevisionInfo,
    HfApi,
    HFCacheInfo,
    RepoFile,
    constants,
    scan_cache_dir,
    snapshot_download,
)
from huggingface_hub.errors import (
    CacheNotFound,
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    RevisionResolutionError,
)

from trustrace.core.checkpoints import Checkpoint
from trustrace.core.errors import CheckpointError
from trustrace.models import families, hub_names, weights
from trustrace.models.families import Family
from trustrace.models.quiet import quietly
from trustrace.models.shelf import HubFile

_UNREACHABLE = (OfflineModeIsEnabled, LocalEntryNotFoundError, httpx2.TransportError)
_FEW = 5
_SMALL = (weights.CONFIG, "generation_config.json", "*.py", *weights.TOKENIZER_FILES)


@dataclass(frozen=True, kw_only=True)
class HubSource:
    """A repository whose revisions are checkpoints.

    Attributes:
        name: The repository, ``owner/name``.
        family: What is known of it.
        listing: Its checkpoints, in order of training, their commits pinned where the hub told them.
        notices: Where the hub's listing and what is known differ.
        keep_downloads: Whether fetched weights stay in the hub's cache; if not, those that were not there before go when their
            context closes.
    """

    name: str
    family: Family
    listing: tuple[Checkpoint, ...]
    notices: tuple[str, ...] = ()
    keep_downloads: bool = True

    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """All checkpoints, in order of training."""
        return self.listing

    def pin(self, checkpoint: Checkpoint) -> Checkpoint:
        """`checkpoint` with the commit that its revision names now.

        Raises:
            CheckpointError: the hub does not know the revision or cannot be reached.
        """
        if checkpoint.commit:
            return checkpoint
        with _explained(self.name, checkpoint.revision):
            commit = HfApi().resolve_revision(self.name, revision=checkpoint.revision).resolved
        return replace(checkpoint, commit=hub_names.require_commit(commit, where=checkpoint.key))

    @contextmanager
    def path(self, checkpoint: Checkpoint, *, with_weights: bool = True) -> Iterator[Path]:
        """The snapshot of `checkpoint` in the hub's cache; what is missing there is fetched.

        Raises:
            CheckpointError: it cannot be fetched, or holds no weights.
        """
        pinned = self.pin(checkpoint)
        was_here = _has_weights(_cached_names(self.name, pinned.commit))
        folder = self._fetch(pinned, with_weights=with_weights)
        try:
            yield folder
        finally:
            if with_weights and not self.keep_downloads and not was_here:
                _let_go(pinned.commit)

    def download_bytes(self, checkpoint: Checkpoint) -> int:
        """How many bytes of `checkpoint` are still to be fetched.

        Raises:
            CheckpointError: the hub cannot be asked, or the checkpoint holds no weights.
        """
        pinned = self.pin(checkpoint)
        with _explained(self.name, checkpoint.revision), quietly():
            patterns = self._patterns(pinned, with_weights=True)
            files = snapshot_download(self.name, revision=pinned.commit, allow_patterns=patterns, dry_run=True)
        return sum(file.file_size or 0 for file in files if file.will_download)

    def files(self, checkpoint: Checkpoint) -> tuple[HubFile, ...]:
        """The files of a pinned `checkpoint` that are needed, weights among them, in one question to the hub.

        Without a connection, those in the cache, where its weights are complete there.

        Raises:
            CheckpointError: the hub cannot be asked, or the checkpoint holds no weights.
        """
        with _explained(self.name, checkpoint.revision):
            try:
                tree = HfApi().list_repo_tree(self.name, recursive=True, revision=checkpoint.commit)
                listed = [
                    hub_names.hub_file(entry, where=checkpoint.key) for entry in tree if isinstance(entry, RepoFile)
                ]
            except _UNREACHABLE:
                listed = _complete_in_cache(self.name, checkpoint.commit)
                if not listed:
                    raise
        names = [file.name for file in listed]
        patterns = [*_SMALL, *weights.weight_patterns(names, where=checkpoint.key)]
        return tuple(file for file in listed if any(fnmatch.fnmatchcase(file.name, one) for one in patterns))

    def fetch(self, checkpoint: Checkpoint, files: Sequence[HubFile], *, bar: type[Any], named: bool) -> Path:
        """The snapshot of a pinned `checkpoint` with `files` in it; what is missing there is fetched.

        Args:
            checkpoint: Which.
            files: Which of its files.
            bar: A progress bar that is told of every chunk; what it raises ends the download, which leaves no half file.
            named: Whether the revision's name is left in the cache too, for days without a connection.

        Raises:
            CheckpointError: a file cannot be fetched.
        """
        names = [file.name for file in files]
        with _explained(self.name, checkpoint.revision):
            if named:
                HfApi().resolve_revision(self.name, revision=checkpoint.revision)
            return Path(snapshot_download(self.name, revision=checkpoint.commit, allow_patterns=names, tqdm_class=bar))

    def fallback_tokenizer(self) -> tuple[str, Path] | None:
        """Name and folder of the tokenizer that the family names, or else that of ``main``.

        Raises:
            CheckpointError: it cannot be fetched.
        """
        repository, _, revision = (self.family.tokenizer or f"{self.name}@{families.MAIN}").partition("@")
        with _explained(repository, revision or families.MAIN), quietly():
            patterns = [weights.CONFIG, *weights.TOKENIZER_FILES]
            folder = Path(snapshot_download(repository, revision=revision or families.MAIN, allow_patterns=patterns))
        return (f"{repository}@{revision or families.MAIN}", folder) if weights.has_tokenizer(folder) else None

    def _fetch(self, checkpoint: Checkpoint, *, with_weights: bool) -> Path:
        with _explained(self.name, checkpoint.revision), quietly():
            # Files are asked for by commit; this leaves the revision's name in the cache too, for days without a connection.
            HfApi().resolve_revision(self.name, revision=checkpoint.revision)
            patterns = self._patterns(checkpoint, with_weights=with_weights)
            return Path(snapshot_download(self.name, revision=checkpoint.commit, allow_patterns=patterns))

    def _patterns(self, checkpoint: Checkpoint, *, with_weights: bool) -> list[str]:
        """The files of `checkpoint` that are needed: a repository may hold the same weights several times over."""
        patterns = [*_SMALL]
        if with_weights:
            patterns += weights.weight_patterns(_file_names(self.name, checkpoint.commit), where=checkpoint.key)
        return patterns


def open_hub(repository: str, *, revision: str | None = None, keep_downloads: bool = True) -> HubSource:
    """The checkpoints of a hub repository.

    Without a connection, the revisions that are in the hub's cache are listed, or what is known of the suite where nothing is; `notices`
    says so.

    Args:
        repository: ``owner/name``.
        revision: This revision alone, whatever it is called.
        keep_downloads: Whether fetched weights stay in the cache.

    Raises:
        CheckpointError: the hub has no such repository or revision, or it holds no checkpoint.
    """
    if revision is not None and not hub_names.is_revision(revision):
        raise CheckpointError(
            f"{repository}: {revision[:80]!r} is no name of a revision; 'trustrace checkpoints list {repository[:80]}' shows them"
        )
    family = families.of(repository)
    commits, notices = _revisions(repository, family)
    if revision is not None:
        commits, notices = {revision: _known(repository, revision, commits)}, ()
    else:
        notices = (*notices, *_differences(repository, family, commits))
    named = (revision,) if revision is not None else ()
    listing = tuple(sorted(_described(repository, family, commits, always=named)))
    if not listing:
        raise CheckpointError(
            f"{repository}: none of its {len(commits)} revisions is a checkpoint as far as their names tell"
        )
    return HubSource(name=repository, family=family, listing=listing, notices=notices, keep_downloads=keep_downloads)


def _revisions(repository: str, family: Family) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """Branches and tags with their commits, and what to say of how they were learned."""
    try:
        with _explained(repository, "", passing=_UNREACHABLE):
            refs = HfApi().list_repo_refs(repository)
    except _UNREACHABLE as error:
        return _revisions_without_the_hub(repository, family, error)
    listed = [(ref.name, ref.target_commit) for ref in [*refs.tags, *refs.branches]]
    known = {name: commit for name, commit in listed if hub_names.is_revision(name) and hub_names.is_commit(commit)}
    left_out = len(listed) - len(known)
    notice = f"{left_out} revisions are left out: their names or commits could not be kept inside the cache"
    return known, (notice,) if left_out else ()


def _revisions_without_the_hub(
    repository: str, family: Family, error: Exception
) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """What is in the local cache; else what is known of the suite, which no one has checked and which has no commits."""
    unreachable = f"the hub could not be reached ({type(error).__name__})"
    cached = {ref: commit for commit, found in _cached(repository).items() for ref in found.refs or (commit,)}
    if cached:
        return cached, (f"{unreachable}; only what is in the local cache is listed",)
    if family.expected:
        listed = dict.fromkeys((*family.expected, families.MAIN), "")
        return listed, (
            f"{unreachable}; listed is what is known of the suite {family.name}, unchecked and without commits",
        )
    raise CheckpointError(
        f"{repository}: no such folder, and the hub cannot be asked for a repository of that name ({error}); "
        "nothing of it is in the local cache"
    ) from error


def _cache() -> HFCacheInfo | None:
    try:
        return scan_cache_dir(constants.HF_HUB_CACHE)
    except CacheNotFound:
        return None


def _cached(repository: str) -> Mapping[str, CachedRevisionInfo]:
    """What is in the local cache of a repository, by commit."""
    cache = _cache()
    repositories = cache.repos if cache else frozenset()
    mine = [repo for repo in repositories if repo.repo_type == "model" and repo.repo_id == repository]
    return {revision.commit_hash: revision for repo in mine for revision in repo.revisions}


def _cached_names(repository: str, commit: str) -> list[str]:
    revision = _cached(repository).get(commit)
    return [file.file_name for file in revision.files] if revision else []


def _known(repository: str, revision: str, commits: Mapping[str, str]) -> str:
    """The commit of a revision that was asked for by name; empty for a commit hash, which no listing holds."""
    if revision in commits:
        return commits[revision]
    if len(revision) == 40 and set(revision) <= set("0123456789abcdef"):
        return revision
    near = difflib.get_close_matches(revision, commits, n=3, cutoff=0.4) or sorted(commits)[:3]
    raise CheckpointError(f"{repository}: no revision {revision!r} among {len(commits)}; near it: {', '.join(near)}")


def _described(
    repository: str, family: Family, commits: Mapping[str, str], *, always: tuple[str, ...]
) -> Iterator[Checkpoint]:
    for revision, commit in commits.items():
        twin = revision == families.MAIN and family.main != families.MAIN and family.main in commits
        place = family.place(revision)
        if place is None and revision in always:
            place = (None, None)
        if place is not None and (not twin or revision in always):
            step, tokens = place
            yield Checkpoint(
                family=family.name, model=repository, revision=revision, step=step, tokens_seen=tokens, commit=commit
            )


def _differences(repository: str, family: Family, commits: Mapping[str, str]) -> Iterator[str]:
    """Where the hub's listing and the table differ, a sentence each."""
    missing = [revision for revision in family.expected if revision not in commits]
    if missing:
        yield f"{len(missing)} revisions of {family.name} are not in {repository}: {_some(missing)}"
    unknown = sorted(revision for revision in commits if family.place(revision) is None and revision != families.MAIN)
    if unknown:
        yield f"{len(unknown)} revisions are left out, because their names tell no step: {_some(unknown)}"
    known = {*family.expected, family.main, families.MAIN}
    beyond = sorted(one for one in commits if family.expected and family.place(one) is not None and one not in known)
    if beyond:
        yield f"{len(beyond)} revisions are new since this table was written, and are listed: {_some(beyond)}"


def _some(names: list[str]) -> str:
    return ", ".join(names[:_FEW]) + (", ..." if len(names) > _FEW else "")


def _file_names(repository: str, commit: str) -> list[str]:
    """The files of a revision: the hub's answer, or what is in the cache where the hub cannot be asked."""
    try:
        return HfApi().list_repo_files(repository, revision=commit)
    except _UNREACHABLE:
        return _cached_names(repository, commit)


def _complete_in_cache(repository: str, commit: str) -> list[HubFile]:
    """The files of a revision in the cache, whose blobs are named by their hashes; none where weights are missing."""
    revision = _cached(repository).get(commit)
    if revision is None:
        return []
    try:
        weights.weight_files(revision.snapshot_path)
    except CheckpointError:
        return []
    return [
        HubFile(name=file.file_name, size=file.size_on_disk, content=file.blob_path.name) for file in revision.files
    ]


def _has_weights(names: list[str]) -> bool:
    return any(name.endswith((".safetensors", ".bin")) for name in names)


def _let_go(commit: str) -> None:
    cache = _cache()
    if cache is not None:
        cache.delete_revisions(commit).execute()


@contextmanager
def _explained(repository: str, revision: str, *, passing: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """What the hub's client raises, as an error that says what was asked of the hub and what may help."""
    where = f"{repository}@{revision}" if revision else repository
    hub_names.watch_answers()
    try:
        yield
    except passing:
        raise
    except CheckpointError:
        raise
    except HFValidationError as error:
        raise CheckpointError(f"{where}: neither a folder nor a hub repository ('owner/name'): {error}") from error
    except GatedRepoError as error:
        raise CheckpointError(
            f"{where}: the hub wants its terms accepted first; accept them on its page and set HF_TOKEN"
        ) from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"{where}: no such folder, and no such repository on the hub (or it is private: set HF_TOKEN)"
        ) from error
    except RevisionNotFoundError as error:
        raise CheckpointError(f"{where}: the hub has the repository but not this revision") from error
    # The client's ValueErrors are about names and documents that no hub should send.
    except (
        *_UNREACHABLE,
        RevisionResolutionError,
        httpx2.HTTPError,
        OSError,
        ValueError,
        KeyError,
        TypeError,
    ) as error:
        raise CheckpointError(
            f"{where}: could not be fetched ({error}); what has arrived is kept, so try again"
        ) from error
