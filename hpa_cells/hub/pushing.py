"""From this machine to a hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from hpa_cells.hub.address import HubModel
from hpa_cells.hub.package import api_of, in_plain_words, is_among, package, quiet

__all__ = ["push"]


def push(
    model: HubModel, files: Mapping[str, bytes], *, replaced: Sequence[str], private: bool, message: str
) -> HubModel:
    """Put files into a repository in a single commit: it holds the whole new model or the old one.

    Parameters
    ----------
    model
        The repository; it is made where it is missing, as is the branch that its revision names.
    files
        Name -> content.
    replaced
        Names of files that belong to a model, as in `pull`: those that are there and not among `files` are removed in
        the same commit. All others stay.
    private
        Of a repository that is made: whether only its owner sees it.
    message
        Of the commit.

    Returns
    -------
    The repository at the new commit; at the last one, where nothing has changed.

    Raises
    ------
    PermissionError, FileNotFoundError
        If the hub does not let you write there.
    OSError
        If it cannot be reached, or breaks off.
    ValueError
        If the revision is a commit, the hub refuses the front matter of the card, or huggingface-hub is not installed.
    """
    if model.is_pinned:
        raise ValueError(f"{model} is a commit, which never changes: give a branch, or no revision.")
    hub = package(str(model))
    api = api_of(hub)
    with in_plain_words(model), quiet(hub):
        api.create_repo(model.repository, private=private, exist_ok=True)
        if model.revision is not None:
            api.create_branch(model.repository, branch=model.revision, exist_ok=True)
        there = api.list_repo_files(model.repository, revision=model.revision)
        stale = [name for name in there if is_among(name, replaced) and name not in files]
        added = [
            hub.CommitOperationAdd(path_in_repo=name, path_or_fileobj=data) for name, data in files.items()
        ]
        removed = [hub.CommitOperationDelete(path_in_repo=name) for name in stale]
        commit = api.create_commit(
            model.repository, [*added, *removed], commit_message=message, revision=model.revision
        )
    return replace(model, revision=str(commit.oid))
