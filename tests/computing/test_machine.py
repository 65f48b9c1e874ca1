"""The network of a machine."""

import shutil

from tests.tiny import add_backbone

from traitlens.computing import Machine


def test_a_network_that_was_replaced_is_loaded_again(tmp_path, monkeypatch):
    monkeypatch.setenv("TRAITLENS_CACHE", str(tmp_path / "cache"))
    add_backbone(tmp_path, channels=(4, 6))
    machine = Machine(backbone_name="tiny")
    first = machine.backbone()
    assert machine.backbone() is first
    shutil.rmtree(tmp_path / "cache")
    add_backbone(tmp_path, channels=(5, 7))
    assert machine.backbone().digest != first.digest
