"""Long tasks in a separate process, which continues when the window or the server is closed.

The process writes its progress to a file in the study folder, and holds a lock there while it runs.
"""

import _thread
import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from traitlens.app.workspace import FOLDER, SESSION_FILE
from traitlens.explorer.loopback import LOOPBACK
from traitlens.locking import Lock, read_lock
from traitlens.problems import Problem, TraitlensError
from traitlens.storage import move_into_place, write_json

Task = Literal["faces", "estimate", "run", "demo", "collect"]
State = Literal["nothing", "working", "done", "failed", "stopped"]

STARTUP_LIMIT = 60.0
"""Seconds after which a new process that has not acquired its lock counts as stopped."""


@dataclass
class Progress:
    """Progress of a task.

    Parameters
    ----------
    state : {"nothing", "working", "done", "failed", "stopped"}
        "nothing" before the first start; "stopped" by the user, or because the process was killed.
    stages : list of (name, done, total)
        Stages that have begun, with their numbers of steps; the current stage is last.
    planned : list of str
        Names of all stages planned at the start, in order.
    said : list of str
        Messages of the task.
    problems : list of Problem
        Reasons why the task failed.
    started, updated : float
        Times of the start and of the latest update, in seconds since 1970.
    """

    state: State = "nothing"
    stages: list[tuple[str, int, int]] = field(default_factory=list)
    planned: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    started: float = 0.0
    updated: float = 0.0


def start(folder: Path, task: Task) -> None:
    """Start a task in a separate process, unless it is running.

    Parameters
    ----------
    folder : Path
        Folder of the study.
    task : {"faces", "estimate", "run", "demo", "collect"}
        Draw the face sheet, estimate time and memory of a run, run the analysis, create the demonstration
        study, or serve a rating session.
    """
    private = Path(folder).resolve() / FOLDER
    if read_progress(folder, task).state == "working":
        return
    private.mkdir(parents=True, exist_ok=True)
    _stop_file(private, task).unlink(missing_ok=True)
    now = time.time()
    _write(private, task, Progress("working", started=now, updated=now))
    flags: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        flags = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    with (private / f"{task}.log").open("w", encoding="utf-8") as log:
        command = [sys.executable, "-m", "traitlens.app.background", task, str(private.parent)]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, **flags
        )
    # Wait for the child, so that no zombie process remains.
    threading.Thread(target=process.wait, daemon=True).start()


def stop(folder: Path, task: Task) -> None:
    """Ask a task to stop; the results of finished stages remain."""
    _stop_file(Path(folder).resolve() / FOLDER, task).touch()


def is_stopping(folder: Path, task: Task) -> bool:
    """Return whether a task was asked to stop and is still running."""
    asked = _stop_file(Path(folder).resolve() / FOLDER, task).exists()
    return asked and read_progress(folder, task).state == "working"


def read_progress(folder: Path, task: Task) -> Progress:
    """Read the progress of a task; its state is "stopped" if the process was killed."""
    private = Path(folder).resolve() / FOLDER
    # Read the lock first: a process writes its final state before it releases the lock.
    is_held = read_lock(private / task) is not None
    try:
        found = json.loads((private / f"{task}.json").read_text(encoding="utf-8"))
        found["stages"] = [(str(name), int(done), int(total)) for name, done, total in found["stages"]]
        found["problems"] = [Problem(**one) for one in found["problems"]]
        progress = Progress(**found)
    except (OSError, ValueError, KeyError, TypeError):
        return Progress()
    has_begun = progress.updated > progress.started or time.time() - progress.started > STARTUP_LIMIT
    if progress.state == "working" and not is_held and has_begun:
        progress.state = "stopped"
    return progress


def read_estimate(folder: Path) -> str:
    """Read the sentence about the estimated time and memory of a run; "" without an estimate."""
    progress = read_progress(folder, "estimate")
    return progress.said[-1] if progress.state == "done" and progress.said else ""


def _stop_file(private: Path, task: str) -> Path:
    """Return the path of the file that asks a task to stop."""
    return private / f"{task}.stop"


def _write(private: Path, task: str, progress: Progress) -> None:
    """Write the progress of a task."""
    write_json(private / f"{task}.json", {**vars(progress), "problems": [vars(p) for p in progress.problems]})


class FileWatcher:
    """Watcher that writes the progress of a task to a file, at most twice a second.

    Parameters
    ----------
    private : Path
        The app's folder inside the study.
    task : str
        Name of the task.
    """

    def __init__(self, private: Path, task: str):
        self._private, self._task = private, task
        self._last = 0.0
        self.progress = Progress("working", started=time.time())

    def say(self, text: str) -> None:
        """Add a message."""
        self.progress.said.append(text)
        self.write()

    def stage(self, name: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """Begin a stage; the context manager returns a function that counts finished steps."""
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
        """Write the progress to the file."""
        self._last, self.progress.updated = time.monotonic(), time.time()
        _write(self._private, self._task, self.progress)


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
    """Estimate the time and memory of a run."""
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
    """Create the demonstration study in an empty study folder."""
    from traitlens.study.simulated_study import simulate_demo

    # The folder holds this process's own files already, so create the study in a subfolder and move it.
    drawn = folder / FOLDER / "drawn"
    shutil.rmtree(drawn, ignore_errors=True)
    simulate_demo(drawn, watcher)
    for part in sorted(drawn.iterdir(), key=lambda path: path.name == "study.toml"):
        move_into_place(part, folder / part.name)
    drawn.rmdir()


def _serve_session(folder: Path, watcher: FileWatcher) -> None:
    """Serve a rating session to this computer until it is stopped."""
    from traitlens.collecting.server import serve
    from traitlens.collecting.session_manager import add_participants, open_sessions

    session = json.loads((folder / FOLDER / SESSION_FILE).read_text(encoding="utf-8"))
    sessions = open_sessions(folder, watcher)
    add_participants(sessions, session["participants"])
    watcher.say("The session is ready.")
    address = f"http://localhost:{session['port']}"
    serve(sessions, LOOPBACK, session["port"], session["secret"], address, folder.name)


TASKS: dict[str, Callable[[Path, FileWatcher], None]] = {
    "run": _run,
    "estimate": _estimate,
    "faces": _draw_faces,
    "demo": _draw_demo,
    "collect": _serve_session,
}
"""The function that performs each task."""


def main(task: str, folder: Path) -> None:
    """Perform a task, and write its progress and final state."""
    private = folder / FOLDER
    with Lock(private / task):
        watcher = FileWatcher(private, task)
        watcher.write()
        stop_file = _stop_file(private, task)
        # Programs that start in the background ignore interruptions, and so do their children.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        threading.Thread(target=_watch_for_stop, args=(stop_file,), daemon=True).start()
        try:
            TASKS[task](folder, watcher)
            watcher.progress.state = "done"
        except KeyboardInterrupt:
            watcher.progress.state = "stopped"
        except TraitlensError as error:
            watcher.progress.state, watcher.progress.problems = "failed", list(error.problems)
        except Exception as error:
            message = " ".join(str(error).split())[:300]
            what = f"the task stopped because of an unexpected error ({type(error).__name__}: {message})"
            advice = f"finished results are stored; please report the error with the file {FOLDER}/{task}.log"
            watcher.progress.state, watcher.progress.problems = "failed", [Problem(what, advice)]
            raise
        finally:
            watcher.write()
            stop_file.unlink(missing_ok=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
