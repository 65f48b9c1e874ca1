"""Image files of a study, read with their digests to detect files replaced during a run."""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from threading import Lock

from traitlens.problems import Problem, TraitlensError

MOST_BYTES = 256 * 2**20
"""Maximum size of files kept in memory between two stages, in bytes."""


class ImageFiles:
    """Image files and their digests."""

    def __init__(self, paths: Mapping[str, Path]):
        self.paths = dict(paths)
        self._names = {path: name for name, path in self.paths.items()}
        self._digests: dict[str, str] = {}
        self._recent: OrderedDict[str, bytes] = OrderedDict()
        self._lock = Lock()

    def read(self, path: Path) -> bytes:
        """Read an image file.

        Raises
        ------
        TraitlensError
            If it has changed since it was first read.
        """
        name = self._names[path]
        with self._lock:
            if name in self._recent:
                return self._recent[name]
        content = path.read_bytes()
        found = hashlib.sha256(content).hexdigest()
        with self._lock:
            if self._digests.setdefault(name, found) != found:
                advice = "run the same command again; finished work is kept"
                raise TraitlensError(Problem("was changed during the run", advice, f"images/{name}"))
            self._recent[name] = content
            while sum(map(len, self._recent.values())) > MOST_BYTES:
                self._recent.popitem(last=False)
        return content

    def digests(self) -> dict[str, str]:
        """Return the digests of all files.

        Returns
        -------
        dict of str to str
            SHA-256 by image.
        """
        for name, path in self.paths.items():
            if name not in self._digests:
                self.read(path)
        return {name: self._digests[name] for name in self.paths}
