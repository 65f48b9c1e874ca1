"""Long tasks in a separate process, which continues when the window or the server is closed.

The process writes its progress to a file in the study's folder, and holds a lock there while it runs.
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
"""Maximum time in seconds until a new process holds its lock."""


@dataclass
class Progress:
    """Progress of a task.

    Parameters
    ----------
    state : {"nothing", "working", "done", "failed", "stopped"}
        "stopped": by the user, or because the process was killed.
    stages : list of (name, done, total)
        Stages so far, the current one last.
    planned : list of str
        Stages planned at the start, in order.
    said : list of str
        Messages.
    problems : list of Problem
        Why the task failed.
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
    """Start a task in a separate process, unless it is running.

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
    # wait for the child, so that no zombie process remains
    threading.Thread(target=process.wait, daemon=True).start()


def stop(folder: Path, work: Work) -> None:
    """Ask a task to stop; finished stages are kept."""
    _stop_file(Path(folder).resolve() / FOLDER, work).touch()


def is_stopping(folder: Path, work: Work) -> bool:
    """Return whether a task was asked to stop and is still running."""
    asked = _stop_file(Path(folder).resolve() / FOLDER, work).exists()
    return asked and read_progress(folder, work).state == "working"


def read_progress(folder: Path, work: Work) -> Progress:
    """Read the progress of a task.

    Returns
    -------
    Progress
        Its progress; "stopped" if its process was killed.
    """
    private = Path(folder).resolve() / FOLDER
    # The lock is read first: a process writes its last state before it releases the lock.
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
    """Read the estimated time and memory of a run.

    Returns
    -------
    str
        A sentence; "" without an estimate.
    """
    progress = read_progress(folder, "estimate")
    return progress.said[-1] if progress.state == "done" and progress.said else ""


def _stop_file(private: Path, work: str) -> Path:
    """Return the path of the file that asks a task to stop."""
    return private / f"{work}.stop"


def _write(private: Path, work: str, progress: Progress) -> None:
    """Write the progress of a task."""
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
    """Interrupt the main thread, as Ctrl-C does, when the stop file appears."""
    while not file.exists():
        time.sleep(0.3)
    _thread.interrupt_main()


def _run(folder: Path, watcher: FileWatcher) -> None:
    """Run the analysis."""
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
    """Estimate time and memory of a run."""
    from traitlens.pipeline.context import Context
    from traitlens.pipeline.estimate import estimate
    from traitlens.study.reading import Study

    needed = estimate(Context(Study.load(folder), watcher=watcher))
    watcher.say(str(needed) if needed.costs else "All results are up to date.")


def _draw_faces(folder: Path, watcher: FileWatcher) -> None:
    """Draw the face sheet."""
    from traitlens.faces.face_check import check_faces

    check_faces(folder, watcher=watcher)


def _draw_demo(folder: Path, watcher: FileWatcher) -> None:
    """Draw the demonstration study."""
    from traitlens.study.simulated_study import simulate_demo

    # This process writes into the study's folder, so the study is drawn beside it and then moved.
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
"""Tasks by name."""


def main(work: str, folder: Path) -> None:
    """Run a task, and write its result."""
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
            message = " ".join(str(error).split())[:300]
            what = f"the work stopped because of an unexpected error ({type(error).__name__}: {message})"
            advice = f"finished work is kept; please report it with {FOLDER}/{work}.log"
            watcher.progress.state, watcher.progress.problems = "failed", [Problem(what, advice)]
            raise
        finally:
            watcher.write()
            stop_file.unlink(missing_ok=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
