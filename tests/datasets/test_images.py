"""A folder of images: every file in `val`, and the cut between train and select."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tcc.datasets import cut_select, describe
from tcc.datasets.images import PLUGIN, Params
from tcc.errors import DataError
from tcc.formats import image


def _folder(root: Path, count: int) -> Path:
    root.mkdir()
    for index in range(count):
        image.write_png(root / f"{index}.png", np.full((5, 6, 3), index, np.uint8))
    (root / "SOURCE.txt").write_text("not an image")
    return root


@pytest.mark.parametrize(("count", "train", "select"), [(1, 1, 1), (2, 1, 1), (25, 23, 2)])
def test_all_images_are_evaluated(tmp_path: Path, count: int, train: int, select: int) -> None:
    params = Params(root=str(_folder(tmp_path / "kodak", count)))
    info = PLUGIN.describe(params)
    assert dict(info.splits) == {"train": train, "select": select, "val": count}
    assert info.labels == ()
    split = PLUGIN.open(params, "val")
    assert len(split) == count
    assert split[0].key == "0.png"
    assert split[0].image.shape == (3, 5, 6)
    assert dict(split[0].labels) == {}


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TCC_IMAGES_ROOT", raising=False)
    with pytest.raises(DataError, match=r"data set images has no root.*TCC_IMAGES_ROOT"):
        PLUGIN.describe(Params())
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: no image in this folder itself"):
        PLUGIN.describe(Params(root=str(tmp_path / "empty")))


def test_the_fingerprint_sees_names_and_sizes(tmp_path: Path) -> None:
    root = _folder(tmp_path / "a", 3)
    first = PLUGIN.describe(Params(root=str(root))).fingerprint("val")
    twin = PLUGIN.describe(Params(root=str(_folder(tmp_path / "b", 3)))).fingerprint("val")
    assert twin == first
    (root / "2.png").rename(root / "3.png")
    assert PLUGIN.describe(Params(root=str(root))).fingerprint("val") != first


@given(
    keys=st.lists(st.text(max_size=4), unique=True, min_size=2, max_size=40),
    select=st.integers(0, 3),
    seed=st.randoms(),
)
def test_the_cut_depends_on_the_keys_alone(keys: list[str], select: int, seed) -> None:
    if select >= len(keys):
        with pytest.raises(DataError, match="select"):
            cut_select(keys, select)
        return
    train, selected = cut_select(keys, select)
    assert sorted(train + selected) == sorted(keys)
    assert len(selected) == (select or max(1, len(keys) // 10))
    assert train == [key for key in keys if key in set(train)]
    shuffled = list(keys)
    seed.shuffle(shuffled)
    assert set(cut_select(shuffled, select)[1]) == set(selected)


def test_tiny_mixes_sizes_that_are_told_without_decoding(tmp_path: Path) -> None:
    params = Params.model_validate(PLUGIN.tiny(tmp_path / "kodak"))
    assert list(PLUGIN.sources(params)) == [tmp_path / "kodak"]
    info = PLUGIN.describe(params)
    assert dict(info.splits) == {"train": 5, "select": 1, "val": 6}
    sizes = set()
    for name, count in info.splits.items():
        split = PLUGIN.open(params, name)
        assert len(split) == count
        for index in range(count):
            assert split.size(index) == tuple(split[index].image.shape[1:])
            sizes.add(split.size(index))
    assert len(sizes) == 3
    split = PLUGIN.open(params, "val")
    whole = split.files[0].read_bytes()
    split.files[0].write_bytes(whole[: len(whole) // 2])
    assert split.size(0) == (48, 64)
    with pytest.raises(DataError, match=r"kodim00\.png: cannot be read"):
        split[0]


@pytest.mark.skipif("TCC_SHARED" not in os.environ, reason="needs TCC_SHARED")
def test_kodak() -> None:
    params = Params(root=str(Path(os.environ["TCC_SHARED"]) / "data/kodak"))
    assert PLUGIN.describe(params).splits["val"] == 24
    sizes = {PLUGIN.open(params, "val")[index].image.shape for index in (0, 3)}
    assert sizes == {(3, 512, 768), (3, 768, 512)}


@pytest.mark.parametrize("root", ["~nobody-of-this-name/kodak", "x" * 5000])
def test_what_the_system_refuses_is_a_data_error(root: str) -> None:
    with pytest.raises(DataError, match=f"^{root}: "):
        describe(PLUGIN, Params(root=root))


def test_names_that_are_not_utf8_are_read(tmp_path: Path) -> None:
    root = _folder(tmp_path / "kodak", 3)
    (root / "0.png").rename(root / os.fsdecode(b"caf\xe9.png"))
    assert PLUGIN.describe(Params(root=str(root))).splits["train"] == 2


def test_a_picture_of_equal_size_is_seen_where_nothing_is_compressed(tmp_path: Path) -> None:
    root = tmp_path / "grey"
    root.mkdir()
    prints = set()
    for value in (0, 1):
        for index in range(2):
            Image.fromarray(np.full((4, 4), value, np.uint8)).save(root / f"{index}.pgm")
        prints.add(PLUGIN.describe(Params(root=str(root))).fingerprint("val"))
    assert len(prints) == 2


def test_labels_that_it_lacks_are_refused(tmp_path: Path) -> None:
    params = Params(root=str(_folder(tmp_path / "kodak", 2)))
    assert len(PLUGIN.open(params, "val", ())) == 2
    with pytest.raises(DataError, match=r"data set images has no boxes here: it has no labels"):
        PLUGIN.open(params, "val", ("boxes",))
