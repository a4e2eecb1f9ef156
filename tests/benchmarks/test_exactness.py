"""The script that codes a folder of images, on a few drawn ones."""

from __future__ import annotations

import json

import exactness
import pytest

from tcc import registry


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_whole_models_code_a_folder_to_the_bit(tmp_path, capsys):
    root = registry.load("datasets", "images").tiny(tmp_path / "photos")["root"]
    sizes = "--latent 4 --channels 4 4 8 --train-steps 3 --crop 32 --first 3 --json"
    code = exactness.main(["--images", root, "--folder", str(tmp_path / "runs"), *sizes.split()])
    told = json.loads(capsys.readouterr().out)
    assert len(told["cases"]) == 8  # contexts, hyperpriors and weights
    for case in told["cases"]:
        assert len(case["rows"]) == 3 + len(exactness.ODD_SIZES)
        assert not any(row["differs"] for row in case["rows"])
        assert all(16 <= row["overhead"] <= 24 for row in case["rows"])
        told_of_gap = [fault for fault in case["faults"] if "above the estimate" in fault]
        assert case["faults"] == told_of_gap  # of images so small, headers are much
        assert bool(told_of_gap) == (case["weights"] == "trained")
    assert code == 1
