"""Write a folder with wheels, weights and instructions to install traitlens without an internet connection.

Run the script on a computer with a connection and with the same operating system and version of Python.

Usage: python scripts/make_bundle.py [FOLDER]
"""

import platform
import shutil
import subprocess
import sys
from pathlib import Path

from traitlens.features.weights import cached_weights, vgg16_weights

EXTRAS = "app,tables"
README = """\
traitlens without a connection
==============================

For {system}, Python {python}. In this folder, in a terminal:

Windows:
    py -m venv traitlens
    traitlens\\Scripts\\pip install --no-index --find-links wheels "traitlens[{extras}]"
    setx TRAITLENS_WEIGHTS "%CD%\\{weights}"
    traitlens\\Scripts\\traitlens launcher

macOS and Linux:
    python3 -m venv traitlens
    traitlens/bin/pip install --no-index --find-links wheels "traitlens[{extras}]"
    export TRAITLENS_WEIGHTS="$PWD/{weights}"      (also as a line of ~/.profile)
    traitlens/bin/traitlens launcher

`traitlens doctor` checks whether everything is installed.
"""


def main(folder: Path) -> None:
    """Write wheels, weights and instructions to a folder."""
    source = Path(__file__).parents[1]
    command = [sys.executable, "-m", "pip", "wheel", "--wheel-dir", str(folder / "wheels")]
    command += ["--constraint", str(source / "constraints.txt"), f"{source}[{EXTRAS}]"]
    subprocess.run(command, check=True)
    vgg16_weights(announce=print)
    shutil.copyfile(cached_weights(), folder / cached_weights().name)
    system, python = f"{platform.system()} {platform.machine()}", platform.python_version()
    text = README.format(system=system, python=python, extras=EXTRAS, weights=cached_weights().name)
    (folder / "README.txt").write_text(text, encoding="utf-8")
    wheels = list((folder / "wheels").glob("*.whl"))
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"{folder}: {len(wheels)} wheels, {size / 1e9:.1f} GB")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "bundle"))
