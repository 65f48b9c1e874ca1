"""Reading of a study's image files; a file that changes during a run raises an error."""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from threading import Lock

from traitlens.problems import Problem, TraitlensError

MOST_BYTES = 256 * 2**20
"""Maximum total size in bytes of the image files kept in memory between stages."""


class ImageFiles:
    """Read image files by path, and compare their digests each time."""

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
            If the file has changed since it was first read.
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
        """Return the SHA-256 digest of each file, by name of the image."""
        for name, path in self.paths.items():
            if name not in self._digests:
                self.read(path)
        return {name: self._digests[name] for name in self.paths}
