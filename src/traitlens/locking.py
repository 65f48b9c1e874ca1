"""Locks that allow only one run at a time in a results folder.

A lock is a file that names the process that holds it, which regularly renews the file's modification time. If
that process has ended, another process on the same machine and in the same container takes over the lock at
once. A process elsewhere takes it over after :data:`LEASE` seconds without renewal.
"""

import json
import os
import socket
import sys
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from traitlens.problems import Problem, TraitlensError

HEARTBEAT = 15.0
"""Seconds between renewals of a lock."""
LEASE = 300.0
"""Seconds without renewal after which the lock of a process on another machine or in another container is
taken over."""

ENDED = "ended"

_held: dict[Path, int] = {}  # number of times that this process holds each lock
_own: dict[Path, str] = {}  # identifier in each lock file that this process has written
_guard = threading.Lock()
_renewing: threading.Thread | None = None


class Lock:
    """A lock on a folder that is acquired at creation; a process may hold several locks on the same folder.

    Parameters
    ----------
    folder : Path
        The folder; the lock file is `.cache/lock` in it.

    Raises
    ------
    TraitlensError
        If another process holds a lock on the folder.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with Lock(folder):
    ...     (folder / ".cache" / "lock").exists()
    True
    >>> (folder / ".cache" / "lock").exists()
    False
    """

    def __init__(self, folder: Path):
        self.file = Path(folder).resolve() / ".cache" / "lock"
        self._is_held = True
        with _guard:
            if not _held.get(self.file):
                _own[self.file] = _acquire(self.file, Path(folder))
            _held[self.file] = _held.get(self.file, 0) + 1
            _start_renewing()

    def is_held(self) -> bool:
        """Return whether this process still holds the lock, which may have been taken over or deleted.

        Raises
        ------
        OSError
            If the lock file cannot be read.
        """
        return self._is_held and (_parse_lock_file(self.file) or {}).get("id") == _own.get(self.file)

    def release(self) -> None:
        """Release the lock, and delete its file if this process holds no other lock on the folder."""
        with _guard:
            if not self._is_held:
                return
            self._is_held = False
            _held[self.file] -= 1
            if not _held[self.file]:
                del _held[self.file]
                if (_read_lock_file(self.file) or {}).get("id") == _own.pop(self.file):
                    self.file.unlink(missing_ok=True)

    def __enter__(self) -> "Lock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def read_lock(folder: Path) -> dict[str, Any] | None:
    """Return information on the process that holds the lock on a folder.

    Returns
    -------
    dict or None
        host, process (number), started (start of the process, in the system's unit), since (date and time of
        the lock); None if there is no lock, or the process has ended.
    """
    file = Path(folder) / ".cache" / "lock"
    holder = _read_lock_file(file)
    return None if holder is None or _is_gone(file, holder) else holder


def _start_renewing() -> None:
    """Start the thread that renews the locks of this process."""
    global _renewing
    if _renewing is None or not _renewing.is_alive():
        _renewing = threading.Thread(target=_renew, name="lock", daemon=True)
        _renewing.start()


def _renew() -> None:
    """Renew all locks of this process regularly, until it holds none."""
    while True:
        time.sleep(HEARTBEAT)
        with _guard:
            if not _own:
                return
            for file, own in _own.items():
                if (_read_lock_file(file) or {}).get("id") == own:
                    with suppress(OSError):
                        os.utime(file)


def _acquire(file: Path, folder: Path) -> str:
    """Create the lock file and return its identifier.

    The file is created as a hard link, which is atomic even on network file systems.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    own = file.parent / f".lock.partial-{uuid.uuid4().hex[:8]}"
    me = {
        "id": uuid.uuid4().hex,
        "host": socket.gethostname(),
        "place": _identify_machine(),
        "process": os.getpid(),
        "started": _start_time(os.getpid()),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    own.write_text(json.dumps(me), encoding="utf-8")
    try:
        for _ in range(10):
            try:
                _link(own, file)
                return str(me["id"])
            except FileExistsError:
                holder = _read_lock_file(file)
            if holder is None:
                continue  # The lock was released in the meantime.
            if not _is_gone(file, holder):
                break
            _remove_dead_lock(file, holder)
        raise TraitlensError(_lock_problem(file, folder))
    finally:
        own.unlink(missing_ok=True)


def _remove_dead_lock(file: Path, holder: dict[str, Any]) -> None:
    """Remove the lock of a dead process, unless a third process has just replaced it."""
    aside = file.parent / f".lock.partial-{uuid.uuid4().hex[:8]}"
    try:
        file.rename(aside)
    except FileNotFoundError:
        return
    if _read_lock_file(aside) != holder:
        with suppress(FileExistsError):
            _link(aside, file)
    aside.unlink(missing_ok=True)


def _lock_problem(file: Path, folder: Path) -> Problem:
    """Return the problem that another process holds the lock."""
    holder = _read_lock_file(file) or {}
    who = f"process {holder.get('process', '?')} on {holder.get('host', '?')}"
    return Problem(
        f"another run is using this folder ({who}, since {holder.get('since', '?')})",
        f"wait for it, or choose another --out; if that process has ended, wait {LEASE / 60:.0f} minutes or "
        f"delete {file}",
        str(folder),
    )


def _read_lock_file(file: Path) -> dict[str, Any] | None:
    """Read the entries of a lock file; none if it is damaged or unreadable, or None if there is no lock."""
    try:
        return _parse_lock_file(file)
    except OSError:
        return {}


def _parse_lock_file(file: Path) -> dict[str, Any] | None:
    """Read the entries of a lock file; none if it is damaged, or None if there is no lock."""
    try:
        holder = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}


def _is_gone(file: Path, holder: dict[str, Any]) -> bool:
    """Return whether the process that holds a lock has ended, even if its number has been reused."""
    same = holder.get("host") == socket.gethostname() and holder.get("place") == _identify_machine()
    if not same or not isinstance(holder.get("process"), int):
        return _seconds_since_renewal(file) > LEASE
    if not is_running(holder["process"]):
        return True
    started = _start_time(holder["process"])
    return started != holder.get("started") if started else _seconds_since_renewal(file) > LEASE


def is_running(process: int) -> bool:
    """Return whether a process with the given number is running, under any user."""
    if sys.platform == "win32":  # On Windows, os.kill would stop the process.
        return _windows_start_time(process) is not None
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # The process belongs to another user.
        return True
    return _start_time(process) != ENDED


def _identify_machine() -> str | None:
    """Return an identifier of the container and of the current boot of the machine; None if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115 (no path)
    except OSError:
        return None


def _seconds_since_renewal(file: Path) -> float:
    """Return the seconds since a lock was renewed, by the clock of the file system."""
    now = file.parent / f".lock.partial-{uuid.uuid4().hex[:8]}"
    try:
        now.touch()
        return now.stat().st_mtime - file.stat().st_mtime
    except OSError:  # The lock was released, or the folder cannot be written to.
        return 0.0
    finally:
        with suppress(OSError):
            now.unlink()


def _link(own: Path, file: Path) -> None:
    """Create a hard link under an unused name, or a copy on file systems without links (exFAT)."""
    try:
        os.link(own, file)
    except FileExistsError:
        raise
    except OSError:
        with file.open("x", encoding="utf-8") as lock:
            lock.write(own.read_text(encoding="utf-8"))


def _start_time(process: int) -> str | None:
    """Return the start time of a process in the system's unit; None if unknown, ENDED for a zombie."""
    if sys.platform == "win32":
        return _windows_start_time(process)
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return ENDED if fields[0] == "Z" else fields[19]


def _windows_start_time(process: int) -> str | None:
    """Return the start time of a process on Windows; None if it has ended, "" if it is another user's."""
    if sys.platform == "win32":
        import ctypes
        from ctypes import byref, wintypes

        limited_information, access_denied, still_active = 0x1000, 5, 259
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.OpenProcess.argtypes = (wintypes.DWORD, wintypes.BOOL, wintypes.DWORD)
        kernel.OpenProcess.restype = wintypes.HANDLE
        kernel.GetExitCodeProcess.argtypes = (wintypes.HANDLE, ctypes.c_void_p)
        kernel.GetProcessTimes.argtypes = (wintypes.HANDLE, *[ctypes.c_void_p] * 4)
        kernel.CloseHandle.argtypes = (wintypes.HANDLE,)
        handle = kernel.OpenProcess(limited_information, False, process)
        if not handle:
            return "" if ctypes.get_last_error() == access_denied else None
        try:
            code, times = wintypes.DWORD(), [wintypes.FILETIME() for _ in range(4)]
            if not kernel.GetExitCodeProcess(handle, byref(code)) or code.value != still_active:
                return None
            kernel.GetProcessTimes(handle, *map(byref, times))
            return str(times[0].dwHighDateTime << 32 | times[0].dwLowDateTime)
        finally:
            kernel.CloseHandle(handle)
    return None
