"""What is in a batch, whoever loads it: one process, workers, or one rank of several."""

from __future__ import annotations

import multiprocessing
import os
import signal
from itertools import islice

import pytest
import torch

from tcc.errors import DataError, LostProcessError, TrialError
from tcc.trial.loading import TrainingBatches, WholeImages

EQUAL, MIXED = [(8, 8)] * 12, [(8, 8), (9, 8), (8, 16), (10, 20), (16, 8)] * 3


@pytest.fixture
def make_batches(make_recipe, make_place):
    def make(samples, key=("a",), seed=0, place=None, **changes) -> TrainingBatches:
        return TrainingBatches(
            samples, make_recipe(**changes), seed=seed, key=key, place=make_place(**(place or {}))
        )

    return make


def listed(stream, number: int):
    """A comparable form of some batches."""
    found = []
    for batch in islice(stream, number):
        boxes = [(item["boxes"].tolist(), item["crowd"].tolist()) for item in batch.labels["boxes"]]
        maps = batch.labels["label_ids"].tolist()
        found.append((batch.keys, batch.image_B3HW.tolist(), batch.sizes, maps, boxes))
    stream.close()
    return found


@pytest.mark.parametrize("crop", [0, 6])
def test_what_belongs_to_an_image_stays_with_it(make_batches, make_images, crop):
    batches = make_batches(make_images(EQUAL), crop=crop)
    if not crop:
        batches.frozen = {"y": torch.arange(12.0)[:, None]}
    for batch in islice(batches.stream(), 9):
        indices = [int(key) for key in batch.keys]
        assert batch.image_B3HW.dtype == torch.uint8
        assert batch.image_B3HW.is_contiguous(memory_format=torch.channels_last)
        assert batch.image_B3HW[:, 0, 0, 0].tolist() == indices
        assert batch.labels["class"].tolist() == indices
        assert batch.labels["label_ids"][:, 0, 0].tolist() == indices
        if not crop:
            boxes = [len(item["labels"]) for item in batch.labels["boxes"]]
            assert boxes == [index % 3 for index in indices]
            assert batch.frozen["y"][:, 0].tolist() == indices


def test_images_that_are_held_in_memory_are_decoded_once(make_batches, make_images):
    images = make_images(EQUAL)
    list(islice(make_batches(images).stream(), 30))
    assert images.opened == list(range(12))


def test_what_was_done_is_passed_over_without_loading(make_batches, make_images):
    for changes in ({"crop": 4}, {"accumulate": 2}, {"flip": True}):
        whole = listed(make_batches(make_images(MIXED), **changes).stream(), 14)
        images = make_images(MIXED)
        done = 5 * changes.get("accumulate", 1)
        assert listed(make_batches(images, **changes).stream(done=5), 14 - done) == whole[done:]
        assert len(images.opened) <= 14 * 4


def test_ranks_share_the_parts_that_one_device_accumulates(make_batches, make_images):
    alone = listed(make_batches(make_images(EQUAL), accumulate=2, crop=4).stream(done=1), 8)
    ranks = [
        make_batches(make_images(EQUAL), devices=2, crop=4, place={"rank": rank, "ranks": 2})
        for rank in (0, 1)
    ]
    dealt = [listed(rank.stream(done=1), 4) for rank in ranks]
    assert [part for step in zip(*dealt, strict=True) for part in step] == alone
    assert all(len(part[0]) == 2 for part in alone)


def test_a_batch_that_cannot_be_divided_is_refused(make_batches, make_images):
    with pytest.raises(TrialError, match=r"batch 4 cannot be divided by train\.accumulate 3"):
        make_batches(make_images(EQUAL), accumulate=3)


def test_images_of_like_shape_are_padded_to_one_size(make_batches, make_images):
    shapes = set()
    for batch in islice(make_batches(make_images(MIXED), batch=2).stream(), 60):
        sizes = [MIXED[int(key)] for key in batch.keys]
        assert list(batch.sizes) == sizes
        assert batch.size == tuple(max(side) for side in zip(*sizes, strict=True))
        assert len({height >= width for height, width in sizes}) == 1
        shapes.add(batch.size)
        for image, key in zip(batch.unpadded(batch.image_B3HW), batch.keys, strict=True):
            assert (image == int(key)).all()
    assert (10, 20) in shapes
    assert (9, 8) in shapes


@pytest.mark.parametrize("sizes", [EQUAL, MIXED])
@pytest.mark.parametrize("changes", [{"crop": 5, "flip": True}, {"flip": True}, {}])
def test_workers_change_nothing(make_batches, make_images, sizes, changes):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    alone = listed(make_batches(make_images(sizes), **changes).stream(), 12)
    helped = make_batches(make_images(sizes), place={"workers": 2}, **changes)
    assert listed(helped.stream(), 12) == alone
    assert torch.equal(torch.get_rng_state(), before)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_sample_that_cannot_be_read_is_named_in_its_own_words(
    make_images, make_place, make_batches, workers
):
    place = {"workers": workers}
    for read in (
        lambda images: list(WholeImages(images, make_place(**place))),
        lambda images: list(islice(make_batches(images, crop=4, place=place).stream(), 3)),
    ):
        with pytest.raises(DataError) as caught:
            read(make_images(EQUAL, torn=7))
        assert str(caught.value) == "image 7: cannot be read"
        del caught
        assert not multiprocessing.active_children()


def test_a_killed_worker_is_an_error_and_not_a_hang(make_batches, make_images):
    stream = make_batches(make_images(EQUAL), crop=4, place={"workers": 1}).stream()
    next(stream)
    (worker,) = multiprocessing.active_children()
    # torch tells it in the main thread by a signal handler's error, wherever that thread is
    told = r"loads data died|DataLoader worker"
    with pytest.raises((LostProcessError, RuntimeError), match=told):
        _kill_and_go_on(worker, stream)


def _kill_and_go_on(worker, stream):
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    list(islice(stream, 100))


def test_whole_images_come_in_order_and_never_padded(make_images, make_place):
    for workers in (0, 2):
        found = list(WholeImages(make_images(MIXED), make_place(workers=workers)))
        assert [key for batch in found for key in batch.keys] == [str(i) for i in range(15)]
        assert not any(batch.padded for batch in found)


def test_whole_images_are_kept_only_as_far_as_allowed(make_images, make_place):
    for keep_bytes, passes in ((0, 2), (12 * 8 * 8 * 3, 2), (1 << 20, 1)):
        images = make_images(EQUAL)
        whole = WholeImages(images, make_place(), keep_bytes)
        first, second = ([batch.keys for batch in whole] for _ in range(2))
        assert first == second
        assert images.opened == list(range(12)) * passes


def test_ranks_share_whole_images_out(make_images, make_place):
    shares = [
        [
            key
            for batch in WholeImages(make_images(MIXED), make_place(rank=rank, ranks=2))
            for key in batch.keys
        ]
        for rank in (0, 1)
    ]
    assert sorted(shares[0] + shares[1], key=int) == [str(i) for i in range(15)]
    assert all(shares)
