"""The order of images: a permutation an epoch, without gaps, like shapes together."""

from __future__ import annotations

from itertools import chain, islice

import torch

from tcc.trial.order import aspect, neighbours, parts


def first(number: int, images: int = 10, part: int = 4, group=lambda index: 0, **changes):
    settings = {"seed": 0, "key": ("a",)} | changes
    return list(islice(parts(images, part, group=group, **settings), number))


def test_epochs_follow_each_other_without_a_gap():
    elements = list(chain(*first(15)))  # 60 of 10 images
    assert [epoch for epoch, _ in elements] == [epoch for epoch in range(6) for _ in range(10)]
    for epoch in range(6):
        indices = [index for _, index in elements[epoch * 10 : epoch * 10 + 10]]
        assert sorted(indices) == list(range(10))
    assert elements[:10] != [(0, index) for _, index in elements[10:20]]


def test_the_order_follows_from_seed_and_key_alone():
    torch.manual_seed(99)
    before = torch.get_rng_state()
    assert first(9) == first(9)
    assert torch.equal(torch.get_rng_state(), before)
    assert first(9, seed=1) != first(9)
    assert first(9, key=("b",)) != first(9)
    assert list(chain(*first(8, part=5))) == list(chain(*first(10)))  # however it is cut


def test_a_part_holds_one_group_and_no_image_is_left_out():
    found = first(200, images=7, part=3, group=lambda index: index % 2)
    for part in found:
        assert len({index % 2 for _, index in part}) == 1
    seen = [element for part in found for element in part]
    assert len(set(seen)) == len(seen)
    complete = [element for element in seen if element[0] < 80]
    assert len(complete) == 80 * 7


def test_an_image_of_a_shape_of_its_own_joins_its_neighbours():
    found = first(200, images=200, part=8, group=lambda index: 9 if index == 6 else index % 3)
    mine = [part for part in found if 6 in {index for _, index in part}]
    assert len(mine) >= 6
    for part in found:
        assert len({index for _, index in part}) == len(part)


def test_shapes_are_told_apart_by_thirds_of_an_octave():
    assert aspect((480, 640)) == aspect((427, 640)) == aspect((960, 1280))
    assert aspect((640, 480)) == aspect((640, 427))
    assert aspect((480, 640)) < 0 <= aspect((640, 640)) <= aspect((640, 600)) < aspect((640, 427))
    assert len({aspect((100, round(100 * 2**octave))) for octave in range(4)}) == 4


def test_neighbours_of_one_size_are_evaluated_together(make_images):
    sizes = [(8, 8)] * 3 + [(8, 9)] + [(8, 8)] * 2
    images = make_images(sizes)
    assert list(neighbours(images)) == [[0, 1, 2], [3], [4, 5]]
    assert list(neighbours(make_images([(512, 768)] * 2))) == [[0], [1]]
    assert [len(group) for group in neighbours(make_images([(8, 8)] * 70))] == [32, 32, 6]
    assert images.opened == []
