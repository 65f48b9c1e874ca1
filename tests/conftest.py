"""What tests of several rooms need."""

import sys

import pytest

from traitlens import cli


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
    cli.answer_as_json(False)
