"""Run the numerical tests with the instruction sets of other processors, and print the results.

Libraries choose instructions by the type of processor; environment variables make them use those of an older
processor. Each setting runs the same tests in a separate process.

Usage: python scripts/test_processors.py [SETTING ...]
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = [
    "tests/features",
    "tests/relevance",
    "tests/readouts/test_dense.py",
    "tests/readouts/test_performance.py",
    "tests/readouts/test_ridge.py",
    "tests/readouts/test_ridge_choices.py",
    "tests/readouts/test_trait_models.py",
    "tests/readouts/test_image_weights.py",
    "tests/faces/test_detection.py",
    "tests/faces/test_landmarks.py",
    "tests/faces/test_template.py",
    "tests/comparison/test_refitting.py",
    "tests/comparison/test_rater_maps.py",
    "tests/ratings",
]
VARIABLES = {
    "ATEN_CPU_CAPABILITY",
    "MKL_CBWR",
    "NUMBA_CPU_FEATURES",
    "NUMBA_CPU_NAME",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
}
"""Environment variables that choose instruction sets; the caller's values are removed."""

OLDEST = {
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "NUMBA_CPU_NAME": "generic",
    "OPENBLAS_CORETYPE": "Nehalem",
    "MKL_CBWR": "COMPATIBLE",
}
LAPTOP = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "NUMBA_CPU_NAME": "haswell",
    "OPENBLAS_CORETYPE": "Haswell",
    "MKL_CBWR": "AVX2",
}
SERVER = {
    "ATEN_CPU_CAPABILITY": "avx512",
    "ONEDNN_MAX_CPU_ISA": "AVX512_CORE",
    "NUMBA_CPU_NAME": "skylake-avx512",
    "OPENBLAS_CORETYPE": "SkylakeX",
    "MKL_CBWR": "AVX512",
}
SETTINGS: dict[str, tuple[dict[str, str], int]] = {
    "this machine, 1 thread": ({}, 1),
    "this machine, 2 threads": ({}, 2),
    "SSE everywhere, 1 thread": (OLDEST, 1),
    "SSE everywhere, 2 threads": (OLDEST, 2),
    "AVX2 everywhere, 1 thread": (LAPTOP, 1),
    "AVX2 everywhere, 2 threads": (LAPTOP, 2),
    "AVX-512 everywhere, 2 threads": (SERVER, 2),
    **{
        f"{name}={value}": ({name: value}, 2)
        for name, values in {
            "ATEN_CPU_CAPABILITY": ("default", "avx2", "avx512"),
            "ONEDNN_MAX_CPU_ISA": ("SSE41", "AVX2", "AVX512_CORE"),
            "NUMBA_CPU_NAME": ("generic",),
            "OPENBLAS_CORETYPE": ("Haswell", "SkylakeX"),
        }.items()
        for value in values
    },
}
"""Environment variables and number of threads of each setting."""


def available() -> set[str]:
    """Return the flags of this processor; empty if the system does not provide them."""
    try:
        return set(Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split())
    except OSError:
        return set()


def needs(variables: dict[str, str]) -> str:
    """Return the processor flag that a setting requires."""
    text = " ".join(variables.values()).lower()
    if "avx512" in text or "skylakex" in text:
        return "avx512f"
    return "avx2" if "avx2" in text or "haswell" in text else "sse4_1"


def run(variables: dict[str, str], threads: int) -> tuple[str, list[str]]:
    """Run the tests with a setting; return pytest's summary and the names of failed tests."""
    kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    with tempfile.TemporaryDirectory() as cache:
        environment = kept | counts | variables | {"NUMBA_CACHE_DIR": cache}
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=line", *TESTS]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            check=False,
        )  # fmt: skip
    lines = done.stdout.strip().splitlines() or ["no answer"]
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, flags=re.MULTILINE)
    if done.returncode not in (0, 1):
        failed.append(f"pytest ended with code {done.returncode}")
    return lines[-1], failed


def main() -> None:
    """Run all settings, or the settings named on the command line, and print a table."""
    chosen = sys.argv[1:] or list(SETTINGS)
    if unknown := [name for name in chosen if name not in SETTINGS]:
        sys.exit(f"unknown settings {unknown}; choose among: {', '.join(SETTINGS)}")
    flags, failures = available(), {}
    print(f"| {'setting':32} | passed | failed | seconds |\n|---|---|---|---|", flush=True)
    for name in chosen:
        variables, threads = SETTINGS[name]
        if flags and needs(variables) not in flags:
            print(f"| {name:32} | this processor has no {needs(variables)} | | |", flush=True)
            continue
        start = time.perf_counter()
        summary, failed = run(variables, threads)
        found = re.search(r"(\d+) passed", summary)
        passed = found[1] if found else 0
        seconds = time.perf_counter() - start
        print(f"| {name:32} | {passed:>6} | {len(failed):>6} | {seconds:7.0f} |", flush=True)
        if failed:
            failures[name] = failed
    for name, failed in failures.items():
        print(f"\n{name}:\n  " + "\n  ".join(failed))
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
