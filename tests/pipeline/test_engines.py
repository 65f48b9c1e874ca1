"""Workers of this computer: nobody else reaches them."""

import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from functools import partial

import pytest

from traitlens.computing.engines import Cluster, _remove_abandoned_folders

distributed = pytest.importorskip("distributed")


def give(offset, number):
    return os.getpid() * 0 + number + offset


def test_folders_that_killed_runs_left_are_removed(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], stdout=subprocess.PIPE, check=True
    )
    for name in (f"traitlens-{int(ended.stdout)}-ab", f"traitlens-{os.getpid()}-cd", "traitlens-error-ef"):
        (tmp_path / name).mkdir()
    _remove_abandoned_folders()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"traitlens-{os.getpid()}-cd",
        "traitlens-error-ef",
    ]


def test_only_who_holds_the_key_of_a_run_reaches_its_workers():
    cluster = Cluster(1)
    try:
        address = cluster._client.scheduler.address
        assert address.startswith("tls://127.0.0.1:")
        assert sorted(cluster.each(partial(give, 0), [1, 2, 3])) == [1, 2, 3]
        plain = address.replace("tls://", "tcp://")
        for other, security in (
            (plain, None),
            (address, distributed.Security.temporary()),
            (address, distributed.Security(require_encryption=True)),
        ):
            with pytest.raises((OSError, TypeError, ValueError, RuntimeError)):
                distributed.Client(other, security=security, timeout="2s", set_as_default=False)
        info = cluster._client.scheduler_info()
        services = [info["services"], *(worker["services"] for worker in info["workers"].values())]
        for port in filter(None, (one.get("dashboard") for one in services)):
            for page in ("info/main/workers.html", "health", "json/counts.json", ""):
                with pytest.raises(urllib.error.HTTPError):
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=5)
    finally:
        cluster.close()
