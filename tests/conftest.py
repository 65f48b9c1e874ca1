"""What tests of several rooms need."""

import sys

import pytest
from hypothesis import settings

from traitlens import cli

settings.register_profile("traitlens", deadline=None)  # machines differ in speed
settings.load_profile("traitlens")


@pytest.fixture
def traitlens(monkeypatch, capsys):
    """Run a command here: its exit code, standard output, and standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["traitlens", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        done = capsys.readouterr()
        return end.value.code, done.out, done.err

    yield run
    cli.print_only_json(False)
