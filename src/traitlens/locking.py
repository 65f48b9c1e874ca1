"""Locks that allow one run at a time in a results folder.

The lock is a file that names its holder, who renews its modification time. The lock of a process that has
ended is taken over at once on the same machine and in the same container. Elsewhere it is taken over after
:data:`LEASE` seconds without renewal.
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
"""Seconds after which a holder renews its lock."""
LEASE = 300.0
"""Seconds without renewal after which a lock of another machine or container is taken over."""

ENDED = "ended"

_held: dict[Path, int] = {}  # how many times this process holds each lock
_own: dict[Path, str] = {}  # what this process wrote into each lock that it holds
_guard = threading.Lock()
_renewing: threading.Thread | None = None


class Lock:
    """A lock on a folder, held by this process; the same process may hold it several times.

    Parameters
    ----------
    folder : Path
        The folder; the lock is its file `.cache/lock`.

    Raises
    ------
    TraitlensError
        If another process holds it.

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
        """Return whether this process still holds the lock: it was neither taken over nor deleted.

        Returns
        -------
        bool
            False also after :meth:`release`.

        Raises
        ------
        OSError
            If the lock file cannot be read.
        """
        return self._is_held and (_parse(self.file) or {}).get("id") == _own.get(self.file)

    def release(self) -> None:
        """Remove the lock if this process still holds it; further calls do nothing."""
        with _guard:
            if not self._is_held:
                return
            self._is_held = False
            _held[self.file] -= 1
            if not _held[self.file]:
                del _held[self.file]
                if (_read(self.file) or {}).get("id") == _own.pop(self.file):
                    self.file.unlink(missing_ok=True)

    def __enter__(self) -> "Lock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def read_lock(folder: Path) -> dict[str, Any] | None:
    """Return the process that holds the lock of a folder.

    Returns
    -------
    dict or None
        host, process, started (system time), since (ISO time); None if there is no lock, or its process has
        ended.
    """
    file = Path(folder) / ".cache" / "lock"
    holder = _read(file)
    return None if holder is None or _is_gone(file, holder) else holder


def _start_renewing() -> None:
    """Start the thread that renews the locks of this process."""
    global _renewing
    if _renewing is None or not _renewing.is_alive():
        _renewing = threading.Thread(target=_renew, name="lock", daemon=True)
        _renewing.start()


def _renew() -> None:
    """Renew the locks of this process until it holds none."""
    while True:
        time.sleep(HEARTBEAT)
        with _guard:
            if not _own:
                return
            for file, own in _own.items():
                if (_read(file) or {}).get("id") == own:
                    with suppress(OSError):
                        os.utime(file)


def _acquire(file: Path, folder: Path) -> str:
    """Create the lock file by a hard link, which is atomic also on network disks."""
    file.parent.mkdir(parents=True, exist_ok=True)
    own = file.parent / f".lock.partial-{uuid.uuid4().hex[:8]}"
    me = {
        "id": uuid.uuid4().hex,
        "host": socket.gethostname(),
        "place": _place(),
        "process": os.getpid(),
        "started": _started(os.getpid()),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    own.write_text(json.dumps(me), encoding="utf-8")
    try:
        for _ in range(10):
            try:
                _link(own, file)
                return str(me["id"])
            except FileExistsError:
                holder = _read(file)
            if holder is None:
                continue  # released meanwhile
            if not _is_gone(file, holder):
                break
            _step_aside(file, holder)
        raise TraitlensError(_taken(file, folder))
    finally:
        own.unlink(missing_ok=True)


def _step_aside(file: Path, holder: dict[str, Any]) -> None:
    """Remove the lock of a dead process, unless a third process has just replaced it."""
    aside = file.parent / f".lock.partial-{uuid.uuid4().hex[:8]}"
    try:
        file.rename(aside)
    except FileNotFoundError:
        return
    if _read(aside) != holder:
        with suppress(FileExistsError):
            _link(aside, file)
    aside.unlink(missing_ok=True)


def _taken(file: Path, folder: Path) -> Problem:
    """Return the error that names the holder of the lock and what can be done."""
    holder = _read(file) or {}
    who = f"process {holder.get('process', '?')} on {holder.get('host', '?')}"
    return Problem(
        f"another run works here ({who}, since {holder.get('since', '?')})",
        f"wait for it, or choose another --out; if that process has ended, wait {LEASE / 60:.0f} minutes or "
        f"delete {file}",
        str(folder),
    )


def _read(file: Path) -> dict[str, Any] | None:
    """Read a lock file; an unreadable one counts as held by an unknown process."""
    try:
        return _parse(file)
    except OSError:
        return {}


def _parse(file: Path) -> dict[str, Any] | None:
    """Read a lock file: its entries, none if it is damaged, or None if there is no lock."""
    try:
        holder = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}


def _is_gone(file: Path, holder: dict[str, Any]) -> bool:
    """Return whether the process that holds a lock has ended; its number may have been reused."""
    same = holder.get("host") == socket.gethostname() and holder.get("place") == _place()
    if not same or not isinstance(holder.get("process"), int):
        return _age(file) > LEASE
    if not is_running(holder["process"]):
        return True
    started = _started(holder["process"])
    return started != holder.get("started") if started else _age(file) > LEASE


def is_running(process: int) -> bool:
    """Return whether there is a process of that number.

    Returns
    -------
    bool
        True also for a process of another user.
    """
    if sys.platform == "win32":  # there, os.kill would stop it
        return _windows_start(process) is not None
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's
        return True
    return _started(process) != ENDED


def _place() -> str | None:
    """Return an identifier of this boot of the machine and of this container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115 (no path)
    except OSError:
        return None


def _age(file: Path) -> float:
    """Return the seconds since a lock was renewed, by the file system's clock."""
    now = file.parent / f".lock.partial-{uuid.uuid4().hex[:8]}"
    try:
        now.touch()
        return now.stat().st_mtime - file.stat().st_mtime
    except OSError:  # released, or the folder cannot be written to
        return 0.0
    finally:
        with suppress(OSError):
            now.unlink()


def _link(own: Path, file: Path) -> None:
    """Create a hard link under an unused name; file systems without links (exFAT) get a new file."""
    try:
        os.link(own, file)
    except FileExistsError:
        raise
    except OSError:
        with file.open("x", encoding="utf-8") as lock:
            lock.write(own.read_text(encoding="utf-8"))


def _started(process: int) -> str | None:
    """Return when a process started, where the system says; ENDED for a zombie."""
    if sys.platform == "win32":
        return _windows_start(process)
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return ENDED if fields[0] == "Z" else fields[19]


def _windows_start(process: int) -> str | None:
    """Return when a process started; None where it has ended, "" where it is another user's."""
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
