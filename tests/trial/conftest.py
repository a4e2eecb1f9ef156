"""Small splits, recipes and places for the parts of a trial."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
import torch
from torchvision.tv_tensors import BoundingBoxes

from tcc.errors import DataError
from tcc.formats.sample import Sample
from tcc.records import TrainRecipe, TrialSpec
from tcc.trial.place import Place

torch.set_num_threads(1)


@dataclass
class Images:
    """Images that are filled with their own index, as are their labels; ``torn``: one that cannot
    be read, ``opened``: those that were decoded in this process."""

    sizes: Sequence[tuple[int, int]]
    torn: int = -1

    def __post_init__(self):
        self.opened: list[int] = []

    def __len__(self) -> int:
        return len(self.sizes)

    def size(self, index: int) -> tuple[int, int]:
        return self.sizes[index]

    def __getitem__(self, index: int) -> Sample:
        self.opened.append(index)
        if index == self.torn:
            raise DataError(f"image {index}: cannot be read")
        size = self.sizes[index]
        boxes = torch.tensor([[0.0, 0.0, index + 1.0, 2.0]] * (index % 3), dtype=torch.float64)
        return Sample(
            key=str(index),
            image=torch.full((3, *size), index, dtype=torch.uint8),
            labels={
                "class": torch.tensor(index),
                "label_ids": torch.full(size, index, dtype=torch.int64),
                "boxes": {
                    "boxes": BoundingBoxes(  # type: ignore[call-arg]
                        boxes.reshape(-1, 4), format="XYXY", canvas_size=size
                    ),
                    "labels": torch.full((index % 3,), index),
                    "crowd": torch.zeros(index % 3, dtype=torch.bool),
                    "area": torch.ones(index % 3, dtype=torch.float64),
                },
            },
        )


@pytest.fixture
def make_images() -> type[Images]:
    return Images


@pytest.fixture
def make_recipe() -> Callable[..., TrainRecipe]:
    def make(**changes) -> TrainRecipe:
        fields = dict(
            steps=100, batch=4, accumulate=1, devices=1, lr=0.1, warmup=0.0, decay=0.3, clip=1.0,
            precision="fp32", deterministic=False, threads=1, rate_ramp=0.5, rate_start=0.05,
            select_every=10, patience=0, crop=0, flip=False, scale=1.0,
        )  # fmt: skip
        return TrainRecipe(**(fields | changes))

    return make


@pytest.fixture
def make_place() -> Callable[..., Place]:
    def make(**changes) -> Place:
        return Place(device=torch.device("cpu"), **changes)

    return make


@pytest.fixture
def pretrain(tiny_plan) -> Callable[..., TrialSpec]:
    """The trial of a tiny study that needs no other."""

    def make(*changes: str) -> TrialSpec:
        return next(trial for trial in tiny_plan(*changes) if trial.kind == "pretrain")

    return make
