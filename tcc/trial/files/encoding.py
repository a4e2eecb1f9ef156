"""Images to scalable files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tcc.codec import container
from tcc.codec.container import Container
from tcc.errors import TrialError
from tcc.formats import atomic, image
from tcc.formats.sample import Sample, collate, image_tensor
from tcc.trial.files import stored
from tcc.trial.files.headroom import Headroom
from tcc.trial.files.inputs import Coded, Input, Outcome, listed, make_folder, work_all
from tcc.trial.files.stored import Stored

SUFFIX = ".tcc"


@torch.inference_mode()
def encode(checkpoint: str, images: Sequence[Path], out: Path, *, store: str) -> Outcome:
    """Writes ``out``/STEM.tcc of each image, and of all images in each folder. What is written has
    been decoded again, and was what was to be coded.

    ``checkpoint``: see `stored.find`.

    Raises:
        TccError: of what concerns all: the trial, the folders, two images of one stem.
    """
    top = stored.find(checkpoint, store)
    if not top.num_layers:
        raise TrialError(
            f"trial {top.name} codes nothing: a trial of kind `{top.record.trial.kind}` has no "
            "codec; give one of another kind"
        )
    paths = listed(images, image.list_images, lambda path: path.stem)
    model = stored.load(top)
    coders = model.coders()
    headroom = Headroom(top, model, coders)
    make_folder(out)

    def work(items: Sequence[_Image]) -> list[Coded]:
        headroom.refuse_encoding(items[0].size, len(items))
        samples = [Sample(key=str(item.path), image=item.pixels, labels={}) for item in items]
        payloads = model.measure(collate(samples).to("cpu"), coders).payloads
        rows = zip(*payloads.values(), strict=True)
        return [_written(item, row, top, out) for item, row in zip(items, rows, strict=True)]

    return work_all(Outcome(verb="encoded"), paths, _read_image, work)


@dataclass(frozen=True, kw_only=True)
class _Image(Input):
    """``pixels``: uint8 (3, H, W)."""

    pixels: Tensor


def _read_image(path: Path) -> _Image:
    pixels = image_tensor(image.read_rgb(path))
    size = pixels.shape[-2], pixels.shape[-1]
    container.refuse_size(size)
    return _Image(path=path, size=size, pixels=pixels)


def _written(item: _Image, payloads: tuple[bytes, ...], top: Stored, out: Path) -> Coded:
    data = container.pack(Container(size=item.size, models=top.models, layers=payloads))
    path = out / f"{item.path.stem}{SUFFIX}"
    atomic.write_bytes(path, data)
    return Coded(
        source=item.path,
        outputs=(path,),
        trial=top.id,
        size=item.size,
        layer_bytes=tuple(len(payload) for payload in payloads),
        num_bytes=len(data),
    )
