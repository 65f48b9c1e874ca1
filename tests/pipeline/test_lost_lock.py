"""A run that lost its results folder to another one records nothing more."""

import json

import pytest
from tests.tiny import make_study

from traitlens.api import Run
from traitlens.problems import TraitlensError
from traitlens.study.reading import Study


@pytest.mark.parametrize("loss", ["taken over", "deleted"])
def test_a_run_whose_lock_is_lost_stops_at_the_end_of_its_stage(tmp_path, loss):
    study = Study.load(make_study(tmp_path / "study"))
    done = Run(study)
    done.make("means")
    lock = study.folder / "results" / ".cache" / "lock"
    if loss == "deleted":
        lock.unlink()
    else:
        lock.write_text(json.dumps({"id": "another", "host": "elsewhere"}))
    with pytest.raises(TraitlensError, match="another run took over this results folder"):
        done.make("reliability")
    done.close()
    assert not (study.folder / "results" / ".cache" / "reliability.json").exists()
    assert lock.exists() == (loss == "taken over")
