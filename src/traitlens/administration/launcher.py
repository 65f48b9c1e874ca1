"""Write an icon that opens the app: in the Start menu, in Applications (Mac), or in the menu of Linux."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from traitlens.problems import Problem, TraitlensError
from traitlens.storage import atomic_write

DESKTOP = """\
[Desktop Entry]
Type=Application
Name=traitlens
Comment=Which parts of a face carry people's impressions of it
Exec={command}
Terminal=true
Categories=Science;Education;
"""
"""Desktop entry for Linux (freedesktop.org); it opens a terminal, and closing the terminal stops the app."""

COMMAND = """\
#!/bin/sh
# Opens traitlens in the browser; close this window to stop it.
exec {command}
"""
"""Script for macOS, which opens it in a terminal window."""

SHORTCUT = (
    "$link = (New-Object -ComObject WScript.Shell).CreateShortcut('{file}'); "
    "$link.TargetPath = '{program}'; $link.Arguments = '{arguments}'; "
    "$link.Description = 'Opens traitlens in the browser'; $link.Save()"
)
"""PowerShell command that writes a shortcut for Windows."""


def write_launcher() -> Path:
    """Write the icon for the current user, and return its path; no administrator rights are needed.

    Raises
    ------
    TraitlensError
        If the file cannot be written.
    """
    file = locate_launcher()
    program = _app_command()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".lnk":
            _write_shortcut(file, program)
        else:
            text = DESKTOP if file.suffix == ".desktop" else COMMAND
            with atomic_write(file) as temporary:
                temporary.write_text(text.format(command=shlex.join(program)), encoding="utf-8")
                temporary.chmod(0o755)
    except (OSError, subprocess.SubprocessError) as error:
        problem = Problem(f"cannot be written ({error})", "open the app by `traitlens app`", str(file))
        raise TraitlensError(problem) from error
    return file


def remove_launcher() -> Path | None:
    """Remove the icon; return the path of the removed file, or None if there was none."""
    file = locate_launcher()
    if not file.exists():
        return None
    file.unlink()
    return file


def locate_launcher() -> Path:
    """Return the path of the icon on this system, which may not exist."""
    if sys.platform == "win32":
        programs = Path(os.environ["APPDATA"]) / "Microsoft" / "Windows" / "Start Menu" / "Programs"
        return programs / "traitlens.lnk"
    if sys.platform == "darwin":
        return Path.home() / "Applications" / "traitlens.command"
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return data / "applications" / "traitlens.desktop"


def _app_command() -> list[str]:
    """Return the command that opens the app, with absolute paths since an icon has no search path."""
    beside = Path(sys.executable).with_name("traitlens.exe" if sys.platform == "win32" else "traitlens")
    found = str(beside) if beside.exists() else shutil.which("traitlens")
    return [found, "app"] if found else [sys.executable, "-m", "traitlens.cli", "app"]


def _write_shortcut(file: Path, program: list[str]) -> None:
    """Write a Windows shortcut that runs a program with its arguments."""
    quoted = {
        name: value.replace("'", "''")
        for name, value in (
            ("file", str(file)),
            ("program", program[0]),
            ("arguments", subprocess.list2cmdline(program[1:])),
        )
    }
    command = ["powershell", "-NoProfile", "-NonInteractive", "-Command", SHORTCUT.format(**quoted)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
