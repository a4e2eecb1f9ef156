"""The order of batches, what goes with an image, and how images of several sizes are grouped."""

from __future__ import annotations

from itertools import islice

import pytest
import torch

from tcc.errors import DataError
from tcc.formats.sample import Sample
from tcc.trial.data import TrainingBatches, evaluation_batches


def samples(*sizes: tuple[int, int]) -> list[Sample]:
    """Images that are filled with their own index, as are their class labels."""
    return [
        Sample(
            key=str(index),
            image=torch.full((3, *size), index, dtype=torch.uint8),
            labels={"class": torch.tensor(index)},
        )
        for index, size in enumerate(sizes)
    ]


def batches(data: list[Sample], **changes) -> TrainingBatches:
    return TrainingBatches(
        data, 4, **({"seed": 0, "key": ("a",), "crop": 0, "flip": False} | changes)
    )


@pytest.mark.parametrize("crop", [0, 8])
def test_an_epoch_reads_every_image_once_and_keeps_what_belongs_together(crop):
    stream = batches(samples(*[(8, 8)] * 12), crop=crop)
    if not crop:
        stream.frozen = {"y": torch.arange(12.0)[:, None]}
    epochs = [list(islice(iter(stream), 6))[half * 3 : half * 3 + 3] for half in (0, 1)]
    for epoch in epochs:
        assert sorted(int(key) for batch in epoch for key in batch.keys) == list(range(12))
        for batch in epoch:
            indices = [int(key) for key in batch.keys]
            assert batch.labels["class"].tolist() == indices
            assert (batch.image_B3HW[:, 0, 0, 0] * 255).round().long().tolist() == indices
            if not crop:
                assert batch.frozen["y"][:, 0].tolist() == indices
    assert [batch.keys for batch in epochs[0]] != [batch.keys for batch in epochs[1]]


def test_the_order_follows_from_seed_and_key_alone():
    data = samples(*[(8, 8)] * 12)
    first = [batch.keys for batch in islice(batches(data), 5)]
    torch.manual_seed(99)
    assert [batch.keys for batch in islice(batches(data), 5)] == first
    assert [batch.keys for batch in islice(batches(data, crop=4), 5)] == first
    assert [batch.keys for batch in islice(batches(data, seed=1), 5)] != first
    assert [batch.keys for batch in islice(batches(data, key=("b",)), 5)] != first


def test_a_set_smaller_than_a_batch_is_one_batch():
    assert len(next(iter(batches(samples((8, 8), (8, 8)))))) == 2


def test_several_sizes_need_a_crop():
    data = samples((8, 8), (8, 9), (8, 8), (8, 8))
    with pytest.raises(DataError, match=r"train\.crop"):
        next(iter(batches(data)))
    assert next(iter(batches(data, crop=6))).size == (6, 6)


def test_evaluation_keeps_the_order_and_one_size_a_batch():
    sizes = [(8, 8)] * 3 + [(8, 9)] + [(8, 8)] * 2
    found = list(evaluation_batches(samples(*sizes)))
    assert [batch.keys for batch in found] == [("0", "1", "2"), ("3",), ("4", "5")]
    assert [batch.size for batch in found] == [(8, 8), (8, 9), (8, 8)]


def test_large_images_are_evaluated_one_by_one():
    found = list(evaluation_batches(samples((512, 768), (512, 768))))
    assert [len(batch) for batch in found] == [1, 1]
