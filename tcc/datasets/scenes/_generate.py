"""Writes a set of scenes to disk in Cityscapes' and COCO's formats, in parallel. Free of torch."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tcc.datasets.scenes import CITY, SHAPE_NAMES, SPLIT_SEEDS, Params, annotation_file, frame_key
from tcc.datasets.scenes._draw import draw
from tcc.errors import DataError
from tcc.formats import atomic, cityscapes, coco, image

CHUNK = 64  # images a job
_MAX_WORKERS = 8  # the disk is the limit beyond


class Chunk(NamedTuple):
    """A run of scenes of one split."""

    split: str
    start: int
    stop: int


def generate(
    folder: Path,
    params: Params,
    report: Callable[[int, int], None] | None = None,
    workers: int | None = None,
) -> None:
    """Makes ``folder`` with all scenes, or leaves nothing behind. Where another process makes the
    same folder first, this one's work is dropped: both are equal byte for byte.

    Raises:
        DataError: the folder cannot be written.
    """
    scratch = atomic.scratch_name(folder)
    try:
        scratch.mkdir(parents=True)
        _write_all(scratch, params, report, workers)
        try:
            scratch.replace(folder)
        except OSError:
            if not folder.is_dir():
                raise
    except OSError as error:
        raise DataError(
            f"{folder}: the generated scenes cannot be written ({error}); set `root` of data set "
            "scenes in the spec, or the environment variable TCC_CACHE, to a writable folder"
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write_chunk(folder: Path, params: Params, chunk: Chunk) -> list[coco.CocoImage]:
    """Draws and writes a run of scenes; gives their COCO entries. Runs in a worker process."""
    height, width = params.size
    entries = []
    for index in range(chunk.start, chunk.stop):
        rng = np.random.default_rng([params.seed, SPLIT_SEEDS[chunk.split], index])
        scene = draw(rng, height, width, params.classes)
        files = cityscapes.frame(folder, chunk.split, frame_key(index))
        image.write_png(files.image, scene.image)
        image.write_png(files.label_ids, scene.label_ids)
        image.write_png(files.disparity, cityscapes.encode_disparity(scene.disparity_px))
        entries.append(
            coco.CocoImage(
                file_name=f"{CITY}/{files.image.name}",
                height=height,
                width=width,
                objects=tuple(
                    coco.object_from_mask(item.mask, item.label) for item in scene.objects
                ),
            )
        )
    return entries


def _write_all(
    folder: Path,
    params: Params,
    report: Callable[[int, int], None] | None,
    workers: int | None,
) -> None:
    chunks = [
        Chunk(split, start, min(start + CHUNK, count))
        for split, count in (("train", params.train), ("val", params.val))
        for start in range(0, count, CHUNK)
    ]
    for split in SPLIT_SEEDS:
        first = cityscapes.frame(folder, split, frame_key(0))
        for path in (first.image, first.label_ids, first.disparity, annotation_file(folder, split)):
            path.parent.mkdir(parents=True, exist_ok=True)
    if workers is None:
        # a process takes half a second to start, in which one draws two chunks
        workers = min(os.cpu_count() or 1, _MAX_WORKERS, len(chunks) // 4)

    done = 0
    entries: dict[Chunk, list[coco.CocoImage]] = {}
    for chunk, images in _run(folder, params, chunks, workers):
        entries[chunk] = images
        done += len(images)
        if report is not None:
            report(done, params.train + params.val)
    for split in SPLIT_SEEDS:
        in_order = [item for chunk in chunks if chunk.split == split for item in entries[chunk]]
        names = SHAPE_NAMES[: params.classes]
        coco.write_instances(annotation_file(folder, split), names, in_order)


def _run(
    folder: Path, params: Params, chunks: list[Chunk], workers: int
) -> Iterator[tuple[Chunk, list[coco.CocoImage]]]:
    if workers <= 1:
        for chunk in chunks:
            yield chunk, write_chunk(folder, params, chunk)
        return
    # spawned, not forked: the caller may hold torch's or Ray's threads
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(max_workers=workers, mp_context=context)
    try:
        jobs = {pool.submit(write_chunk, folder, params, chunk): chunk for chunk in chunks}
        for job in as_completed(jobs):
            yield jobs[job], job.result()
    except BrokenProcessPool as error:
        raise DataError(
            "a process that draws scenes has died: out of memory, or started from a script whose "
            'work is not under `if __name__ == "__main__":`'
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
