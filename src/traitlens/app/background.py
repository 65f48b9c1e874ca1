"""Long work in a process of its own, which goes on when the window or the server is closed.

The process writes how far it is to a file in the study's folder, and holds a lock there while it works.
"""

import _thread
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from traitlens.app.workspace import FOLDER
from traitlens.locking import Lock, read_lock
from traitlens.problems import Problem, TraitlensError
from traitlens.storage import move_into_place, write_json

Work = Literal["faces", "estimate", "run", "demo"]
State = Literal["nothing", "working", "done", "failed", "stopped"]

STARTING = 60.0
"""Seconds that a process may take until it holds its lock."""


@dataclass
class Progress:
    """How far the work is.

    Parameters
    ----------
    state : {"nothing", "working", "done", "failed", "stopped"}
        "stopped": by the user, or because the process ended without a word.
    stages : list of (name, done, total)
        The stages that were begun, the present one last.
    planned : list of str
        The stages that are still to come when the work begins, in their order.
    said : list of str
        What was told on the way.
    problems : list of Problem
        Why the work failed.
    started, updated : float
        Seconds since 1970.
    """

    state: State = "nothing"
    stages: list[tuple[str, int, int]] = field(default_factory=list)
    planned: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    started: float = 0.0
    updated: float = 0.0


def start(folder: Path, work: Work) -> None:
    """Start work in a process of its own, unless it is under way.

    Parameters
    ----------
    folder : Path
        The study's folder.
    work : {"faces", "estimate", "run", "demo"}
        Draw the face sheet, estimate what a run takes, run, or draw the demonstration study.
    """
    private = Path(folder).resolve() / FOLDER
    if read_progress(folder, work).state == "working":
        return
    private.mkdir(parents=True, exist_ok=True)
    _stop_file(private, work).unlink(missing_ok=True)
    now = time.time()
    _write(private, work, Progress("working", started=now, updated=now))
    flags: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        flags = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    with (private / f"{work}.log").open("w", encoding="utf-8") as log:
        command = [sys.executable, "-m", "traitlens.app.background", work, str(private.parent)]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, **flags
        )
    threading.Thread(target=process.wait, daemon=True).start()  # so that it leaves no zombie


def stop(folder: Path, work: Work) -> None:
    """Ask work to stop; what it has finished is kept."""
    _stop_file(Path(folder).resolve() / FOLDER, work).touch()


def is_stopping(folder: Path, work: Work) -> bool:
    """Return whether work was asked to stop and has not ended yet.

    Returns
    -------
    bool
        Whether it is about to stop.
    """
    asked = _stop_file(Path(folder).resolve() / FOLDER, work).exists()
    return asked and read_progress(folder, work).state == "working"


def read_progress(folder: Path, work: Work) -> Progress:
    """Read how far work is.

    Returns
    -------
    Progress
        How far it is; "stopped" where its process has ended without a word.
    """
    private = Path(folder).resolve() / FOLDER
    # The lock is looked at first: a process writes its last state, then releases its lock.
    is_held = read_lock(private / work) is not None
    try:
        found = json.loads((private / f"{work}.json").read_text(encoding="utf-8"))
        found["stages"] = [(str(name), int(done), int(total)) for name, done, total in found["stages"]]
        found["problems"] = [Problem(**one) for one in found["problems"]]
        progress = Progress(**found)
    except (OSError, ValueError, KeyError, TypeError):
        return Progress()
    if (progress.state == "working" and not is_held and time.time() - progress.started > STARTING) or (
        progress.state == "working" and not is_held and progress.updated > progress.started
    ):
        progress.state = "stopped"
    return progress


def read_estimate(folder: Path) -> str:
    """Read what a run was estimated to take.

    Returns
    -------
    str
        A sentence; "" where nothing was estimated.
    """
    progress = read_progress(folder, "estimate")
    return progress.said[-1] if progress.state == "done" and progress.said else ""


def _stop_file(private: Path, work: str) -> Path:
    """Locate the file that asks work to stop."""
    return private / f"{work}.stop"


def _write(private: Path, work: str, progress: Progress) -> None:
    """Write how far work is."""
    write_json(private / f"{work}.json", {**vars(progress), "problems": [vars(p) for p in progress.problems]})


class FileWatcher:
    """A watcher that writes the progress to a file, at most twice a second.

    Parameters
    ----------
    private : Path
        The app's folder in the study.
    work : str
        The work's name.
    """

    def __init__(self, private: Path, work: str):
        self._private, self._work = private, work
        self._last = 0.0
        self.progress = Progress("working", started=time.time())

    def say(self, text: str) -> None:
        """Write a line of text."""
        self.progress.said.append(text)
        self.write()

    def stage(self, name: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """Begin a stage."""
        return self._stage(name, total)

    @contextmanager
    def _stage(self, name: str, total: int) -> Iterator[Callable[[int], None]]:
        stages = self.progress.stages
        stages.append((name, 0, total))
        place = len(stages) - 1
        self.write()

        def advance(steps: int) -> None:
            stages[place] = (name, stages[place][1] + steps, total)
            if time.monotonic() - self._last > 0.5:
                self.write()

        yield advance
        stages[place] = (name, total, total)
        self.write()

    def write(self) -> None:
        """Write the progress."""
        self._last, self.progress.updated = time.monotonic(), time.time()
        _write(self._private, self._work, self.progress)


def _watch_for_stop(file: Path) -> None:
    """Interrupt the main thread, as Ctrl-C does, once the file is there."""
    while not file.exists():
        time.sleep(0.3)
    _thread.interrupt_main()


def _run(folder: Path, watcher: FileWatcher) -> None:
    """Take the study to its report."""
    from traitlens.api import run
    from traitlens.pipeline.context import Context
    from traitlens.pipeline.plan import plan
    from traitlens.study.reading import Study

    watcher.progress.planned = [
        one.stage.label for one in plan(Context(Study.load(folder))) if one.will_be_made
    ]
    watcher.write()
    run(folder, watcher=watcher)


def _estimate(folder: Path, watcher: FileWatcher) -> None:
    """Estimate what a run takes."""
    from traitlens.pipeline.context import Context
    from traitlens.pipeline.estimate import estimate
    from traitlens.study.reading import Study

    needed = estimate(Context(Study.load(folder), watcher=watcher))
    watcher.say(str(needed) if needed.costs else "Nothing is left to be done.")


def _draw_faces(folder: Path, watcher: FileWatcher) -> None:
    """Draw the face sheet."""
    from traitlens.faces.face_check import check_faces

    check_faces(folder, watcher=watcher)


def _draw_demo(folder: Path, watcher: FileWatcher) -> None:
    """Draw the demonstration study."""
    from traitlens.study.simulated_study import simulate_demo

    # The study's folder holds what this process writes; the study is drawn beside it and moved in whole.
    drawn = folder / FOLDER / "drawn"
    shutil.rmtree(drawn, ignore_errors=True)
    simulate_demo(drawn, watcher)
    for part in sorted(drawn.iterdir(), key=lambda path: path.name == "study.toml"):
        move_into_place(part, folder / part.name)
    drawn.rmdir()


WORKS: dict[str, Callable[[Path, FileWatcher], None]] = {
    "run": _run,
    "estimate": _estimate,
    "faces": _draw_faces,
    "demo": _draw_demo,
}
"""What the process can do."""


def main(work: str, folder: Path) -> None:
    """Do work, and write how it ended."""
    private = folder / FOLDER
    with Lock(private / work):
        watcher = FileWatcher(private, work)
        watcher.write()
        stop_file = _stop_file(private, work)
        threading.Thread(target=_watch_for_stop, args=(stop_file,), daemon=True).start()
        try:
            WORKS[work](folder, watcher)
            watcher.progress.state = "done"
        except KeyboardInterrupt:
            watcher.progress.state = "stopped"
        except TraitlensError as error:
            watcher.progress.state, watcher.progress.problems = "failed", list(error.problems)
        except Exception as error:
            told = " ".join(str(error).split())[:300]
            what = f"an unexpected error stopped the work ({type(error).__name__}: {told})"
            advice = f"what was finished is kept; please report it with {FOLDER}/{work}.log"
            watcher.progress.state, watcher.progress.problems = "failed", [Problem(what, advice)]
            raise
        finally:
            watcher.write()
            stop_file.unlink(missing_ok=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
