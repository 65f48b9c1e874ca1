"""Run a command as Windows would let it: `python tests/windows.py ARGUMENTS`.

A file that is open or mapped can be neither replaced nor removed, there are no links, no fork and no modules
of POSIX, the console knows cp1252, and every file is opened with an encoding that somebody chose.
"""

import builtins
import errno
import multiprocessing
import os
import shutil
import signal
import warnings
from pathlib import Path

REFUSED = {"fcntl", "resource", "pwd", "grp", "termios"}


def in_use():
    """Files that this process has open or mapped."""
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            found.add(os.readlink(descriptor))  # noqa: PTH115 (also what is no path)
        except OSError:
            continue
    maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="surrogateescape")
    found |= {line.split(maxsplit=5)[5] for line in maps.splitlines() if len(line.split(maxsplit=5)) == 6}
    return found


def refuse_open_files(function, places):
    """Wrap a function of os: paths at these places must not be in use, nor hold what is."""

    def guarded(*arguments, **options):
        used = in_use()
        for place in places:
            path = os.path.abspath(os.fspath(arguments[place]))  # noqa: PTH100 (links are not followed)
            if any(one == path or one.startswith(path + os.sep) for one in used):
                raise PermissionError(
                    errno.EACCES, "the process cannot access the file because it is being used", path
                )
        return function(*arguments, **options)

    return guarded


def be_windows():
    """Take away what Windows does not have."""

    def no_links(*_, **__):
        raise OSError(errno.EPERM, "a required privilege is not held by the client")

    for name, places in {"replace": (0, 1), "rename": (0, 1), "unlink": (0,), "remove": (0,)}.items():
        setattr(os, name, refuse_open_files(getattr(os, name), places))
    shutil._use_fd_functions = False
    os.symlink = no_links
    for name in ("fork", "sched_getaffinity"):
        if hasattr(os, name):
            delattr(os, name)
    del signal.pthread_sigmask
    multiprocessing.get_all_start_methods = lambda: ["spawn"]
    multiprocessing.set_start_method("spawn", force=True)
    real = builtins.__import__

    def importing(name, given_globals=None, *rest, **options):
        if name in REFUSED and str((given_globals or {}).get("__name__", "")).startswith("traitlens"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, given_globals, *rest, **options)

    builtins.__import__ = importing
    warnings.filterwarnings("ignore", category=EncodingWarning)
    warnings.filterwarnings("error", category=EncodingWarning, module=r"traitlens\.")


def no_figures(_results, folder):
    """Draw nothing: the figures of a report take most of a small study's time."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "none.svg").write_text("<svg/>", encoding="utf-8")
    return {}


if __name__ == "__main__":
    be_windows()
    from traitlens.cli import main
    from traitlens.report import page

    page.draw_figures = no_figures
    main()
