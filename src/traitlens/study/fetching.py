"""Download of public datasets of rated faces; every file is checked against a known digest."""

import hashlib
import json
import re
import shutil
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from traitlens.problems import Problem, TraitlensError, unknown_choice
from traitlens.progress import SilentWatcher, Watcher
from traitlens.storage import atomic_write

MOST_BYTES = 2**31
"""Maximum size in bytes of a file to download."""


@dataclass(frozen=True)
class PublicFile:
    """A file of a public dataset.

    Parameters
    ----------
    name : str
        Path below the dataset's folder.
    url : str
        URL of the file.
    digest : str
        "sha256:" or "md5:" followed by the hexadecimal digest of the file.
    """

    name: str
    url: str
    digest: str


@dataclass(frozen=True)
class PublicSet:
    """A public dataset of faces and ratings.

    Parameters
    ----------
    title : str
        Name and content of the dataset.
    home : str
        URL of the dataset's page.
    licence : str
        Licence of the dataset.
    citation : str
        Reference to cite.
    list_files : callable
        Returns the files of the dataset; may query the dataset's server.
    """

    title: str
    home: str
    licence: str
    citation: str
    list_files: Callable[[], list[PublicFile]]

    def __str__(self) -> str:
        return f"{self.title}\n{self.home}\nLicence: {self.licence}\nCite: {self.citation}"


def fetch(
    name: str,
    out: str | Path,
    source: str | Path | None = None,
    accept: Callable[[str], bool] | None = None,
    watcher: Watcher | None = None,
) -> Path:
    """Download a public dataset, skipping files that are already present with the right digest.

    Parameters
    ----------
    name : str
        One of :data:`SETS`.
    out : str or Path
        Folder of the dataset.
    source : str or Path, optional
        Folder that contains the files at any depth; they are copied from there instead of downloaded.
    accept : callable, optional
        Called with title, licence and citation as one string; returns whether to continue.
    watcher : Watcher, optional
        Shows the progress.

    Returns
    -------
    Path
        The folder, with source, licence and citation of the dataset in `SOURCE.txt`.

    Raises
    ------
    TraitlensError
        If the licence is not accepted, or a file is not available or has another digest.

    Examples
    --------
    >>> folder = fetch("3dsk", "downloads/3dsk", accept=lambda text: True)  # doctest: +SKIP
    """
    if name not in SETS:
        raise unknown_choice("set", name, SETS)
    chosen, out = SETS[name], Path(out)
    if accept is not None and not accept(str(chosen)):
        raise TraitlensError(Problem("nothing was downloaded", "the licence must be accepted"))
    copies = _index_files(Path(source)) if source is not None else None
    files = chosen.list_files()
    problems = []
    with (watcher or SilentWatcher()).stage(f"Fetching {name}", len(files)) as advance:
        for file in files:
            target = out / file.name
            if not (target.exists() and has_digest(target, file.digest)):
                problem = _fetch_file(file, target, copies)
                problems += [problem] if problem else []
            advance(1)
    if problems:
        raise TraitlensError(problems[:20])
    (out / "SOURCE.txt").write_text(f"{chosen}\n", encoding="utf-8")
    return out


def has_digest(path: Path, digest: str) -> bool:
    """Return whether a file has the given digest, such as "sha256:..."."""
    return _content_has_digest(path.read_bytes(), digest)


def _content_has_digest(content: bytes, digest: str) -> bool:
    """Return whether the bytes have the given digest."""
    kind, _, expected = digest.partition(":")
    return hashlib.new(kind, content, usedforsecurity=False).hexdigest() == expected


def _fetch_file(file: PublicFile, target: Path, copies: dict[str, list[Path]] | None) -> Problem | None:
    """Copy or download one file, check its digest, and write it; return a problem if it cannot be written."""
    if copies is not None:
        right = [path for path in copies.get(Path(file.name).name, []) if has_digest(path, file.digest)]
        if not right:
            found = copies.get(Path(file.name).name)
            what = "the copy differs from the published file" if found else "the copy lacks this file"
            return Problem(what, "download the dataset, without --from", file.name)
        with atomic_write(target) as temporary:
            shutil.copyfile(right[0], temporary)
        return None
    try:
        content = _download(file.url)
    except (OSError, ValueError) as error:
        advice = f"fetch {file.url} yourself and name its folder with --from"
        return Problem(f"cannot be downloaded ({error})", advice, file.name)
    if not _content_has_digest(content, file.digest):
        return Problem("the download differs from the published file", "try again later", file.name)
    with atomic_write(target) as temporary:
        temporary.write_bytes(content)
    return None


def _index_files(folder: Path) -> dict[str, list[Path]]:
    """Return the paths of all files below a folder, keyed by file name."""
    if not folder.is_dir():
        raise TraitlensError(
            Problem("there is no such folder", "name the folder of a copy of the dataset", str(folder))
        )
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("._"):
            found.setdefault(path.name, []).append(path)
    return found


def _download(url: str) -> bytes:
    """Download a file over HTTPS."""
    if not url.startswith("https://"):
        raise ValueError("only https is supported")
    request = urllib.request.Request(url, headers={"User-Agent": "traitlens"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        content = bytes(answer.read(MOST_BYTES + 1))
    if len(content) > MOST_BYTES:
        raise ValueError("it is larger than 2 GiB")
    return content


def _download_json(url: str) -> Any:
    """Download and parse a JSON file."""
    try:
        return json.loads(_download(url))
    except (OSError, ValueError) as error:
        raise TraitlensError(
            Problem(
                f"the list of files cannot be downloaded ({error})",
                "try again later, or download the files in a browser and name their folder with --from",
                url,
            )
        ) from error


def _list_registered(name: str, home: str) -> list[PublicFile]:
    """List the files of a dataset from `registries/NAME.txt`.

    Each line has a file's name, its SHA-256 and, if it differs from the name, its path below the URL `home`.
    """
    text = resources.files("traitlens.study").joinpath(f"registries/{name}.txt").read_text("utf-8")
    rows = [line.split() for line in text.splitlines()]
    return [
        PublicFile(row[0], f"{home}/{row[-1 if len(row) > 2 else 0]}", f"sha256:{row[1]}") for row in rows
    ]


def _list_3dsk() -> list[PublicFile]:
    """List the files of the 3DSK set, as published in a commit of the R package webmorphR.stim."""
    commit = "d2416d93cbe2ef9965a840a344359df13ad9a688"
    return _list_registered("3dsk", f"https://raw.githubusercontent.com/debruine/webmorphR.stim/{commit}")


def _list_omi() -> list[PublicFile]:
    """List the faces and mean ratings of One Million Impressions, as published in one commit."""
    commit = "53bb3c13113afc3ae67aa6ede4ac9dfe33f306af"
    return _list_registered("omi", f"https://raw.githubusercontent.com/jcpeterson/omi/{commit}")


def _list_london() -> list[PublicFile]:
    """List the files of the Face Research Lab London Set, with the digests that figshare publishes."""
    listing = _download_json("https://api.figshare.com/v2/articles/5047666")
    return [
        PublicFile(entry["name"], entry["download_url"], f"md5:{entry['computed_md5']}")
        for entry in listing["files"]
        if re.fullmatch(r"(neutral_front|smiling_front|london_faces)[\w.-]*", entry["name"])
    ]


SETS: dict[str, PublicSet] = {
    "3dsk": PublicSet(
        "3DSK face set with webmorph templates: 100 faces, 100,000 ratings on five traits",
        "https://osf.io/a3947/",
        "CC BY 4.0 (see the set's page for the terms of the images)",
        "DeBruine, L. M. & Jones, B. C. (2020). doi:10.17605/OSF.IO/A3947",
        _list_3dsk,
    ),
    "omi": PublicSet(
        "One Million Impressions: 1,004 synthetic faces, mean ratings on 34 attributes",
        "https://github.com/jcpeterson/omi",
        "CC BY-NC-SA 4.0",
        "Peterson, J. C. et al. (2022). PNAS. doi:10.1073/pnas.2115228119",
        _list_omi,
    ),
    "london": PublicSet(
        "Face Research Lab London Set: 102 faces with ratings of attractiveness",
        "https://doi.org/10.6084/m9.figshare.5047666",
        "CC BY 4.0",
        "DeBruine, L. M. & Jones, B. C. (2017). doi:10.6084/m9.figshare.5047666",
        _list_london,
    ),
}
"""Public datasets by name."""
