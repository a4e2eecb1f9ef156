"""Memory that does not suffice: what is said of it, and that what is said to fit was tried."""

from __future__ import annotations

import multiprocessing
import re
import resource
from pathlib import Path

import pytest
import torch

from tcc.records import FailureRecord, TrialRecord
from tcc.stores import open_store
from tcc.tasks.reconstruction.model import ReconstructionModel
from tcc.trial import attempt, memory
from tcc.trial.step import smaller_parts

GPU_FULL = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 1 GiB."


@pytest.mark.parametrize(
    ("batch", "accumulate", "devices", "expected"),
    [
        (16, 1, 1, [2, 4, 8, 16]),
        (24, 1, 1, [2, 4, 8, 24]),
        (24, 2, 2, [4, 12]),
        (9, 1, 1, [3, 9]),
        (6, 2, 1, [6]),
        (4, 4, 1, []),
    ],
)
def test_smaller_parts_are_halved_where_the_batch_allows(
    make_recipe, batch, accumulate, devices, expected
):
    recipe = make_recipe(batch=batch, accumulate=accumulate, devices=devices)
    assert smaller_parts(recipe) == expected
    assert all(batch % (x * devices) == 0 for x in expected)


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (torch.OutOfMemoryError(GPU_FULL), True),
        (MemoryError(), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling x"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("not enough memory"), False),
    ],
)
def test_errors_of_memory_are_told_from_others(error, is_memory):
    assert memory.exceeded(error) == is_memory
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert memory.exceeded(caught.value)


def test_what_is_in_use_is_said_of_the_cpu():
    assert memory.in_use(torch.device("cpu")).startswith("the CPU, with ")


def test_where_the_system_does_not_tell_the_machine_s_memory_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "PROC", tmp_path)
    text = memory.in_use(torch.device("cpu"))
    assert re.fullmatch(r"the CPU, with the machine's \d+\.\d\d GiB", text)


def test_a_container_s_limit_counts(tmp_path, monkeypatch):
    (tmp_path / "cgroup").write_text("4:memory:/x\n0::/pod/box\n")
    groups = {"": "max", "pod": str(2 * memory.GIB), "pod/box": str(3 * memory.GIB)}
    for folder, limit in groups.items():
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "memory.max").write_text(f"{limit}\n")
        (tmp_path / folder / "memory.current").write_text(f"{memory.GIB}\n")
    monkeypatch.setattr(memory, "PROC", tmp_path)
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)
    text = memory.in_use(torch.device("cpu"))
    assert text == "the CPU, with 1.00 of its control group's 2.00 GiB in use"


def test_what_is_left_is_the_least_of_what_limits(tmp_path, monkeypatch):
    assert memory.left() > 0
    proc = tmp_path / "self"
    proc.mkdir()
    monkeypatch.setattr(memory, "PROC", proc)
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)
    assert memory.left() is None
    (tmp_path / "meminfo").write_text("MemTotal: 900 kB\nMemAvailable:     500 kB\n")
    assert memory.left() == 500 * 1024
    (proc / "cgroup").write_text("0::/pod/box\n")
    for folder, limit in {"pod": 300_000, "pod/box": 400_000}.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "memory.max").write_text(f"{limit}\n")
        (tmp_path / folder / "memory.current").write_text("200000\n")
    assert memory.left() == 100_000
    (tmp_path / "pod" / "memory.stat").write_text("anon 5\ninactive_file 150000\n")
    assert memory.left() == 200_000
    kept = "anon 5\nshmem 7\nslab_unreclaimable 9\ninactive_anon 3"
    (tmp_path / "pod" / "memory.stat").write_text(
        f"{kept}\ninactive_file 20000\nactive_file 5000\nslab_reclaimable 300\n"
    )
    assert memory.left() == 125_300
    (tmp_path / "pod" / "memory.stat").write_text(f"{kept}\ninactive_file 150000\n")
    (proc / "statm").write_text("3 2 1\n")
    page = resource.getpagesize()
    monkeypatch.setattr(resource, "getrlimit", lambda _: (5 * page, 5 * page))
    assert memory.left() == 2 * page
    monkeypatch.setattr(resource, "getrlimit", lambda _: (page, page))
    assert memory.left() == 0


@pytest.mark.parametrize("inside", [False, True])
def test_control_groups_of_the_first_version_count(tmp_path, monkeypatch, inside):
    """Within a container, the group's folder is the root, whatever the host calls it."""
    proc, root = tmp_path / "self", tmp_path / "memory"
    proc.mkdir()
    (proc / "cgroup").write_text("7:cpu,cpuacct:/pod\n4:hugetlb,memory:/pod/box\n0::/pod/box\n")
    monkeypatch.setattr(memory, "PROC", proc)
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)
    box = root if inside else root / "pod" / "box"
    box.mkdir(parents=True)
    unlimited = 2**63 - 4096
    for folder, limit in {root: unlimited, box: 2 * memory.GIB}.items():
        (folder / "memory.limit_in_bytes").write_text(f"{limit}\n")
        (folder / "memory.usage_in_bytes").write_text(f"{memory.GIB}\n")
        (folder / "memory.stat").write_text(
            "inactive_file 1\nactive_file 2\ntotal_inactive_file 3000\ntotal_active_file 400\n"
        )
    assert memory.left() == memory.GIB + 3400
    said = memory.in_use(torch.device("cpu"))
    assert said == "the CPU, with 1.00 of its control group's 2.00 GiB in use"
    (box / "memory.limit_in_bytes").write_text(f"{unlimited}\n")
    assert memory.left() is None
    assert "control group" not in memory.in_use(torch.device("cpu"))


class Small:
    """Stands for memory that holds so many images at a time; ``steps``: parts that were tried."""

    def __init__(self, monkeypatch, images: int, *, training: bool = True):
        self.parts: list[int] = []
        real = ReconstructionModel.distortion

        def distortion(model, image_B3HW, batch):
            if model.training == training:
                self.parts.append(len(batch))
                if len(batch) > images:
                    raise torch.OutOfMemoryError(GPU_FULL)
            return real(model, image_B3HW, batch)

        monkeypatch.setattr(ReconstructionModel, "distortion", distortion)


def failed(plan, store) -> FailureRecord:
    outcome = attempt(next(t for t in plan if t.kind == "pretrain"), store)
    assert isinstance(outcome, FailureRecord)
    assert store.failure(outcome.trial.id) == outcome
    return outcome


@pytest.mark.parametrize(("images", "fits"), [(6, 4), (5, 8), (1, 24)])
def test_the_accumulation_that_fits_was_tried(tiny_plan, tmp_path, monkeypatch, images, fits):
    small = Small(monkeypatch, images)
    changes = ("train.batch=24", "train.crop=32", "train.steps=2")
    plan, store = tiny_plan(*changes), open_store(tmp_path)
    outcome = failed(plan, store)
    parts = "1 image" if fits == 24 else f"{24 // fits} images"
    assert outcome.reason.startswith("the memory of the CPU, with ")
    assert "does not suffice for step 1 in parts of 24 images of 32×32 pixels: " in outcome.reason
    assert outcome.reason.endswith(
        f"`train.accumulate: {fits}` (parts of {parts} of 32×32 pixels) was tried and fits "
        "(CUDA out of memory. Tried to allocate 2.00 GiB)"
    )
    assert (outcome.step, outcome.term) == (1, None)
    assert small.parts[-fits:] == [24 // fits] * fits
    divided = tiny_plan(*changes, f"train.accumulate={fits}")
    again = next(t for t in divided if t.kind == "pretrain")
    assert isinstance(attempt(again, store), TrialRecord)


def test_where_nothing_fits_that_is_said(tiny_plan, tmp_path, monkeypatch):
    small = Small(monkeypatch, 0)
    outcome = failed(tiny_plan(), open_store(tmp_path))
    assert small.parts == [4, 2, 1]
    assert "not even one image at a time fits: lower `train.crop`" in outcome.reason


def test_smaller_parts_that_do_not_train_are_no_advice(tiny_plan, tmp_path, monkeypatch):
    Small(monkeypatch, 3)
    real = ReconstructionModel.distortion

    def distortion(model, image_B3HW, batch):
        if len(batch) == 2:
            raise ValueError("an even part")
        return real(model, image_B3HW, batch)

    monkeypatch.setattr(ReconstructionModel, "distortion", distortion)
    outcome = failed(tiny_plan(), open_store(tmp_path))
    assert "nor do parts of 2 images of their whole size train: an even part" in outcome.reason


def test_whole_images_are_named_by_their_size(tiny_plan, tmp_path, monkeypatch):
    Small(monkeypatch, 1, training=False)
    plan = tiny_plan("data.scenes.size=[37,50]")
    outcome = failed(plan, open_store(tmp_path))
    assert "does not suffice for evaluating 8 images at a time of 37×50 pixels" in outcome.reason
    assert outcome.step == 1  # whose weights val/rd_cost is of


LIMIT_MIB = 1400


def attempt_within(trial, root: Path, mib: int) -> None:
    """In a process of its own: with so little memory more than it has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + mib * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    attempt(trial, open_store(root))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_on_a_machine_that_is_too_small_the_advice_holds(tiny_plan, tmp_path):
    """Real allocations: 16 crops of 720×720 take over 2 GiB, one part of 4 a quarter of it."""

    def tried(accumulate: int):
        plan = tiny_plan(
            "data={scenes: {train: 16, val: 1, select: 1, size: 768}}",
            *("train.steps=2", "train.batch=16", "train.crop=720"),
            f"train.accumulate={accumulate}",
            "model={channels: [16, 16, 16], latent: 8, blocks: 1}",
        )
        trial = next(t for t in plan if t.kind == "pretrain")
        context = multiprocessing.get_context("spawn")  # a fork holds what tests before it freed
        child = context.Process(target=attempt_within, args=(trial, tmp_path, LIMIT_MIB))
        child.start()
        child.join()
        assert child.exitcode == 0
        store = open_store(tmp_path)
        return store.failure(trial.id), store.record(trial.id)

    failure, record = tried(1)
    assert record is None
    assert failure is not None
    assert "can't allocate memory" in failure.reason
    assert failure.step == 1
    advised = int(failure.reason.partition("`train.accumulate: ")[2].partition("`")[0])
    assert advised in (2, 4, 8)
    failure, record = tried(advised)
    assert failure is None
    assert record is not None
