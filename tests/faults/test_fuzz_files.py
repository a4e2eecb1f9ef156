"""Mutated and hostile files through the whole of ``tcc decode``; see `fuzz_files`."""

from __future__ import annotations

from pathlib import Path

import fuzz_files
import pytest
from hostile_files import KINDS, MEBIBYTE, taken_apart


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trials of one pair, and files of theirs."""
    folder = tmp_path_factory.mktemp("hostile")
    fuzz_files.prepare(folder, fuzz_files.QUICK)
    return folder


def checked(folder: Path, files: int) -> None:
    figures = fuzz_files.fuzz(folder, 0, files)
    print(figures.summary())
    assert not figures.wrong, figures.summary()
    assert figures.files == files
    assert all(sum(found.values()) >= files // len(KINDS) for found in figures.by_kind.values())
    assert figures.refused > files / 2
    assert figures.decoded > 0


def test_what_is_taken_apart_is_put_together_again(quick: Path) -> None:
    for path in (quick / "originals").iterdir():
        data = path.read_bytes()
        assert taken_apart(data).file() == data


def test_files_are_those_of_their_seed_and_no_larger_than_the_limit(quick: Path) -> None:
    first, again = (fuzz_files.hostiles(quick, 3) for _ in range(2))
    other = fuzz_files.hostiles(quick, 4)
    assert [first[n] for n in range(90)] == [again[n] for n in range(90)]
    assert [first[n] for n in range(90)] != [other[n] for n in range(90)]
    kinds = {first[n].kind for n in range(90)}
    assert kinds == set(KINDS)
    assert all(len(first[n].data) <= MEBIBYTE + 2**12 for n in range(90))


@pytest.mark.timeout(600)
def test_a_few_hostile_files_do_no_harm(quick: Path) -> None:
    checked(quick, 60)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_hostile_files_of_every_kind_of_trial_do_no_harm(tmp_path: Path) -> None:
    fuzz_files.prepare(tmp_path)
    checked(tmp_path, 300)
