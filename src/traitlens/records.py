"""Records of finished stages, with digests of their inputs and outputs, stored in a results folder."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from traitlens.artifacts import ARTIFACTS
from traitlens.digests import digest, digest_file
from traitlens.storage import remove, write_json


@dataclass(frozen=True)
class Record:
    """Record of a finished stage.

    Parameters
    ----------
    version : int
        Version of the code of the stage.
    inputs : mapping of str to str
        Digest of each input, by name or path.
    outputs : mapping of str to str
        Digest of each output file, by path.
    seconds : float
        Duration of the stage.
    made : float
        Time when the stage finished, in seconds since 1970.
    """

    version: int
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    seconds: float
    made: float


class Records:
    """Reader and writer of the records in a results folder, one file for each stage.

    Examples
    --------
    >>> import tempfile
    >>> records = Records(Path(tempfile.mkdtemp()))
    >>> records.write("fit", Record(1, {"settings.seed": "0a"}, {}, 1.5, 0.0))
    >>> records.read("fit").seconds
    1.5
    """

    def __init__(self, results: Path):
        self.folder = Path(results) / ".cache"

    def _file(self, stage: str) -> Path:
        return self.folder / f"{stage}.json"

    def read(self, stage: str) -> Record | None:
        """Read the record of a stage; return None if it is missing or cannot be read."""
        try:
            found = json.loads(self._file(stage).read_text(encoding="utf-8"))
            inputs, outputs = (
                {str(name): str(value) for name, value in found[part].items()}
                for part in ("inputs", "outputs")
            )
            seconds, made = float(found["seconds"]), float(found["made"])
            return Record(int(found["version"]), inputs, outputs, seconds, made)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None

    def write(self, stage: str, record: Record) -> None:
        """Write the record of a stage."""
        write_json(self._file(stage), asdict(record))

    def remove(self, stage: str) -> None:
        """Remove the record of a stage, if there is one."""
        remove(self._file(stage))

    def __iter__(self) -> Iterator[tuple[str, Record]]:
        for file in sorted(self.folder.glob("*.json")):
            record = self.read(file.stem)
            if record is not None:
                yield file.stem, record


def digest_output(path: Path) -> str:
    """Compute the SHA-256 digest of a file, or of the names and contents of all files of a folder.

    Returns
    -------
    str
        64 hexadecimal digits; "" if the file or folder is missing.
    """
    if path.is_file():
        return digest_file(path)
    if not path.is_dir():
        return ""
    files = sorted(file for file in path.rglob("*") if file.is_file())
    hasher = hashlib.sha256()
    for file in files:
        hasher.update(digest(file.relative_to(path).as_posix(), digest_file(file)).encode())
    return hasher.hexdigest()


def consistent_outputs(results: Path) -> set[str] | None:
    """Return the files of a results folder that were computed from the same inputs.

    A record is consistent if the digests of its inputs equal those in the newest records, and if the files
    that the stage read have not been written again since.

    Returns
    -------
    set of str or None
        Paths of the output files of consistent records; None if there are no records.
    """
    records = dict(Records(results))
    if not records:
        return None
    newest: dict[str, str] = {}
    for record in sorted(records.values(), key=lambda record: record.made):
        newest |= record.inputs
    before = len(records) + 1
    while len(records) < before:
        before = len(records)
        written = {path: value for record in records.values() for path, value in record.outputs.items()}
        records = {
            stage: record
            for stage, record in records.items()
            if all(
                value == (written.get(name, "") if name in ARTIFACTS else newest[name])
                for name, value in record.inputs.items()
            )
        }
    return {path for record in records.values() for path in record.outputs}
