"""Upload and download of models on the Hugging Face hub.

Only the three files of a checked model are shared, privately by default. Images and ratings are never
uploaded; folders and repositories with other files are refused. Downloaded models are cached by commit.
They are not trusted: :meth:`TraitModels.load` checks every file.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from traitlens.features.weights import OFFLINE_VARIABLE, cache_folder
from traitlens.problems import ModelError, Problem
from traitlens.readouts.manifest import CARD, LARGEST_MANIFEST, MANIFEST, TENSORS, regular_file
from traitlens.readouts.trait_models import TraitModels
from traitlens.storage import atomic_write, remove

if TYPE_CHECKING:
    from huggingface_hub import HfApi

ADDRESS = "hf://"
"""Prefix of the name of a model on the hub: `hf://owner/name`, or `hf://owner/name@revision`."""

LARGEST = {MANIFEST: LARGEST_MANIFEST, TENSORS: 8 * 2**30, CARD: 2**20}
"""Files of a model, with the maximum size of each in bytes."""

LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"
_NAME = re.compile(r"(?!.*(--|\.\.))[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_WELCOME = {".gitattributes", "LICENSE"}  # Other files that a repository may contain.


def share(
    folder: str | Path,
    repository: str,
    *,
    private: bool = True,
    token: str | None = None,
    confirm: Callable[[str], bool] | None = None,
) -> str:
    """Check a model and share it on the Hugging Face hub.

    Parameters
    ----------
    folder : str or Path
        A folder written by :meth:`TraitModels.save`, such as `results/models`.
    repository : str
        "owner/name"; created if missing.
    private : bool, default True
        Whether only the owner can see the model. An existing repository must have the same visibility.
    token : str or None
        A token with write access; if None, the token of `hf auth login` or of the variable HF_TOKEN.
    confirm : callable or None
        Called with a description of what will be shared; returns whether to continue.

    Returns
    -------
    str
        The URL of the model's page.

    Raises
    ------
    ModelError
        If the model is invalid, the folder or the repository contains other files, or the hub reports an
        error.

    Examples
    --------
    >>> share("results/models", "owner/name")  # doctest: +SKIP
    'https://huggingface.co/owner/name'
    """
    _check_name(repository)
    folder = Path(folder)
    models = TraitModels.load(folder)
    files = {name: regular_file(folder, name, largest) for name, largest in LARGEST.items()}
    _refuse_foreign({path.name for path in folder.iterdir()}, str(folder))
    if confirm is not None and not confirm(_describe_upload(models, files, repository, private)):
        raise ModelError(Problem("nothing was shared, because sharing was not confirmed"))
    with _connect(repository, token) as hub:
        from huggingface_hub import CommitOperationAdd

        address = hub.create_repo(repository, private=private, exist_ok=True)
        found = hub.model_info(repository)
        if found.private != private:
            is_now, other = ("private", "public") if found.private else ("public", "private")
            raise ModelError(
                Problem(
                    f"it exists and is {is_now}, not {other}",
                    f"share it as {is_now}, make it {other} on its page, or use another name",
                    ADDRESS + repository,
                )
            )
        there = {file.rfilename for file in found.siblings or ()}
        _refuse_foreign(there - _WELCOME, ADDRESS + repository)
        additions = [CommitOperationAdd(name, path) for name, path in files.items()]
        hub.create_commit(repository, additions, commit_message=f"Share {len(models.readouts)} readouts")
    return str(address)


def fetch(
    repository: str,
    revision: str | None = None,
    *,
    token: str | None = None,
    announce: Callable[[str], None] = lambda text: None,
) -> Path:
    """Download a model from the Hugging Face hub; each commit is downloaded once and then cached.

    Parameters
    ----------
    repository : str
        "owner/name".
    revision : str or None
        A branch, a tag or a commit; the newest commit if None. A cached commit needs no network.
    token : str or None
        A token with read access; if None, the token of `hf auth login` or of the variable HF_TOKEN.
    announce : callable
        Called with a message before a download starts.

    Returns
    -------
    Path
        The folder in the cache, which :meth:`TraitModels.load` checks and loads.

    Raises
    ------
    ModelError
        If there is no model, a file is too large, or the hub cannot be reached.

    Examples
    --------
    >>> models = TraitModels.load(fetch("owner/name"))  # doctest: +SKIP
    """
    _check_name(repository)
    kept = cache_folder() / "hub" / repository
    if revision is not None and _COMMIT.fullmatch(revision) and (kept / revision).is_dir():
        return kept / revision
    name = ADDRESS + repository
    if os.environ.get(OFFLINE_VARIABLE):
        fault = f"downloads are switched off ({OFFLINE_VARIABLE})"
        advice = f"use a commit that was downloaded before, or unset {OFFLINE_VARIABLE}"
        raise ModelError(Problem(fault, advice, name))
    with _connect(repository, token) as hub:
        found = hub.model_info(repository, revision=revision, files_metadata=True)
        sizes = {file.rfilename: file.size for file in found.siblings or ()}
        _check_listing(sizes, found.sha, name)
        folder = kept / found.sha
        if not folder.is_dir():
            announce(f"Downloading {name} ({_format_size(sum(sizes[file] for file in LARGEST))})")
            with atomic_write(folder) as temporary:
                for file in LARGEST:
                    hub.hf_hub_download(repository, file, revision=found.sha, local_dir=temporary)
                remove(temporary / ".cache")  # The hub's client writes metadata here.
    return folder


def find_models(name: str | Path, announce: Callable[[str], None] = lambda text: None) -> Path:
    """Return the folder of a model, after downloading it if the name is that of a model on the hub.

    Parameters
    ----------
    name : str or Path
        A folder, or `hf://owner/name`, or `hf://owner/name@revision`.
    announce : callable
        Called with a message before a download starts.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ModelError
        See :func:`fetch`.

    Examples
    --------
    >>> find_models("results/models").as_posix()
    'results/models'
    """
    if not str(name).startswith(ADDRESS):
        return Path(name)
    repository, _, revision = str(name).removeprefix(ADDRESS).partition("@")
    return fetch(repository, revision or None, announce=announce)


def _check_name(repository: str) -> None:
    """Raise an error if the name of a repository is invalid."""
    if not _NAME.fullmatch(repository):
        raise ModelError(Problem(f"{repository!r} is not a name on the hub", "write it as owner/name"))


def _check_listing(sizes: Mapping[str, int | None], commit: str | None, name: str) -> None:
    """Raise an error if the files of a repository are not a model or are too large to download."""
    problems = [
        Problem(f"it does not contain {file}", "use the name of a model that was shared by traitlens", name)
        for file in LARGEST
        if file not in sizes
    ]
    for file, largest in LARGEST.items():
        size = sizes.get(file, 0)
        if size is None or not 0 <= size <= largest:
            problem = (
                "its size is unknown"
                if size is None
                else f"its size is {_format_size(size)}, the maximum is {_format_size(largest)}"
            )
            problems.append(Problem(problem, "ask the person who shared it", f"{name}/{file}"))
    if not _COMMIT.fullmatch(commit or ""):
        problems.append(Problem("the hub does not return its commit", "try again later", name))
    if problems:
        raise ModelError(problems)


def _refuse_foreign(names: set[str], where: str) -> None:
    """Raise an error if there are files that are not part of a model."""
    foreign = sorted(names - set(LARGEST))
    if foreign:
        more = f" and {len(foreign) - 5} more" if len(foreign) > 5 else ""
        fault = f"it contains files that are not part of a model: {', '.join(foreign[:5])}{more}"
        raise ModelError(Problem(fault, "use a separate folder or repository for a model", where))


def _describe_upload(models: TraitModels, files: Mapping[str, Path], repository: str, private: bool) -> str:
    """Describe the files that will be shared and who can see them, for the user to confirm."""
    owner, source = repository.partition("/")[0], models.backbone_source or "unknown"
    seen = f"private: only {owner} can see it" if private else "PUBLIC: everyone can see it"
    lines = [
        f"To be shared as {ADDRESS}{repository} ({seen}):",
        *(f"  {name}, {_format_size(path.stat().st_size)}" for name, path in files.items()),
        f"Groups: {', '.join(models.groups)}",
        f"Traits: {', '.join(models.traits)}",
        f"Network: {models.backbone_name}, named but not shared; its source: {source}",
        "It predicts impressions that raters would form, never facts about the person shown, and was made of "
        "people's ratings: please share it only as they agreed to.",
    ]
    return "\n".join(lines)


def _format_size(number: int) -> str:
    """Format a number of bytes."""
    return f"{number / 1e6:.1f} MB" if number >= 1e5 else f"{number / 1e3:.1f} kB"


@contextmanager
def _connect(repository: str, token: str | None) -> "Iterator[HfApi]":
    """Yield a client of the hub, and convert its errors to messages of one line."""
    name = ADDRESS + repository

    def fail(what: str, advice: str) -> ModelError:
        return ModelError(Problem(what, advice, name))

    try:
        import httpx2
        from huggingface_hub import HfApi, errors
    except ImportError as error:
        fault = f"the hub needs a package that is not installed ({error.name})"
        raise fail(fault, "pip install 'traitlens[hub]'") from None
    try:
        yield HfApi(token=token, library_name="traitlens")
    except errors.GatedRepoError:
        raise fail("its owner must grant you access", f"request access on its page, then {LOG_IN}") from None
    except errors.RevisionNotFoundError:
        raise fail("it has no such revision", "use one of its branches, tags or commits") from None
    except errors.RepositoryNotFoundError:
        advice = f"check the name, and {LOG_IN}"
        raise fail("it does not exist, or you have no access", advice) from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status == 401:
            raise fail("you are not logged in to the hub", LOG_IN) from None
        if status == 403:
            advice = "use yourself or your organisation as owner, and a token with write access"
            raise fail("you have no permission", advice) from None
        answer = " ".join((error.server_message or error.response.reason_phrase).split())
        advice = "correct the request, or try again later"
        raise fail(f"the hub refuses ({status}: {answer})", advice) from None
    except (httpx2.HTTPError, errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError) as error:
        fault = f"the hub cannot be reached ({type(error).__name__})"
        raise fail(fault, "check the network and its proxy settings, and try again") from None
    except (ValueError, RuntimeError) as error:
        # The model card is invalid, or the transfer was interrupted.
        answer = " ".join(str(error).split())[:160]
        advice = "correct the request, or try again later"
        raise fail(f"the hub's client refuses ({answer})", advice) from None
