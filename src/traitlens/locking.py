"""One run at a time in a results folder.

Comes in: a folder. Goes out: a lock that says which process on which machine holds it. The lock of a process
that is no more is taken over on its own machine; of another machine's processes nothing can be known, so
that the user is asked.
"""

import json
import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from traitlens.problems import Problem, TraitlensError

_held: dict[Path, int] = {}  # how often this process holds each lock
_guard = threading.Lock()


class Lock:
    """A lock on a folder, held by this process; the same process may hold it several times.

    Parameters
    ----------
    folder : Path
        The folder; the lock is its file `.kept/lock`.

    Raises
    ------
    TraitlensError
        If another process holds it.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with Lock(folder):
    ...     (folder / ".kept" / "lock").exists()
    True
    >>> (folder / ".kept" / "lock").exists()
    False
    """

    def __init__(self, folder: Path):
        self.file = Path(folder).resolve() / ".kept" / "lock"
        self._is_held = True
        with _guard:
            if not _held.get(self.file):
                _acquire(self.file, Path(folder))
            _held[self.file] = _held.get(self.file, 0) + 1

    def release(self) -> None:
        """Give the lock back; again does nothing."""
        with _guard:
            if not self._is_held:
                return
            self._is_held = False
            _held[self.file] -= 1
            if not _held[self.file]:
                del _held[self.file]
                self.file.unlink(missing_ok=True)

    def __enter__(self) -> "Lock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def read_lock(folder: Path) -> dict[str, Any] | None:
    """Read who works in a folder.

    Parameters
    ----------
    folder : Path
        The results folder.

    Returns
    -------
    dict or None
        host, process, started (as the system counts it), since (ISO time); None where nobody does, or
        where the process is known to be no more.
    """
    holder = _read(Path(folder) / ".kept" / "lock")
    return None if holder is None or _is_gone(holder) else holder


def _acquire(file: Path, folder: Path) -> None:
    """Make the lock file; a link either succeeds or finds another's, also on network disks."""
    file.parent.mkdir(parents=True, exist_ok=True)
    own = file.parent / f".lock.partial-{uuid.uuid4().hex[:8]}"
    me = {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "started": _started(os.getpid()),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    own.write_text(json.dumps(me), encoding="utf-8")
    try:
        for _ in range(10):
            try:
                os.link(own, file)
                return
            except FileExistsError:
                holder = _read(file)
            if holder is None:
                continue  # given back between the two looks
            if not _is_gone(holder):
                break
            _step_aside(file, holder)
        raise TraitlensError(_taken(file, folder))
    finally:
        own.unlink(missing_ok=True)


def _step_aside(file: Path, holder: dict[str, Any]) -> None:
    """Remove a dead process's lock, unless a third process has just replaced it by its own."""
    aside = file.parent / f".lock.partial-{uuid.uuid4().hex[:8]}"
    try:
        file.rename(aside)
    except FileNotFoundError:
        return
    if _read(aside) != holder:
        with suppress(FileExistsError):
            os.link(aside, file)
    aside.unlink(missing_ok=True)


def _taken(file: Path, folder: Path) -> Problem:
    """Say who holds the lock and what can be done."""
    holder = _read(file) or {}
    who = f"process {holder.get('process', '?')} on {holder.get('host', '?')}"
    return Problem(
        f"another run works here ({who}, since {holder.get('since', '?')})",
        f"wait for it, or choose another --out; if that process is no more, delete {file}",
        str(folder),
    )


def _read(file: Path) -> dict[str, Any] | None:
    """Read a lock file; one that cannot be understood counts as held by somebody unknown."""
    try:
        holder = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}
    return holder if isinstance(holder, dict) else {}


def _is_gone(holder: dict[str, Any]) -> bool:
    """Tell whether a lock's holder is known to be no more: its number may have gone to another process."""
    if holder.get("host") != socket.gethostname() or not isinstance(holder.get("process"), int):
        return False
    try:
        os.kill(holder["process"], 0)
    except ProcessLookupError:
        return True
    except OSError:
        return os.name == "nt"
    return _started(holder["process"]) != holder.get("started")


def _started(process: int) -> str | None:
    """Read when a process started, where the system tells; a zombie has ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]
