"""Decodes mutated and hostile files, and looks what comes of each.

    python tests/faults/fuzz_files.py [--files 10000] [--seed 0] [--processes 1] [--json]

Tiny trials of several kinds are trained and code a few images. Files made of these are decoded by
`tcc.trial.files.decode` in a process of its own that, with its models loaded and what they take
found out, may take 256 MiB more for a file. Each file must decode to predictions of the size that
it states, or give one line that names it, within 2 s of processor time (of two tries, where it is
slow: the machine may be busy). Exit code 0: each did.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from hostile_files import KINDS, MEBIBYTE, Hostile, Hostiles

ROOM = 256 * MEBIBYTE
LIMIT_S = 2.0  # of processor time, for one file
HANGS_AFTER_S = 120  # of a clock: the machine may be busy
LOADS_WITHIN_S = 1500
SIZES = ((1, 1), (1, 53), (37, 1), (31, 47), (64, 48), (130, 90))
STUDY = """
study: hostile
data: {scenes: {train: 8, val: 2, select: 2}}
pairs: [{base: %s, enhancement: %s}]
grid: {lambda_b: [0.3], lambda_e: [0.3], beta: [0]}
also: [direct, single_layer]
model: {channels: [4, 6, 8], latent: %d, blocks: 1, %s}
train: {steps: 2, batch: 4, warm_start: pretrain%s}
evaluate: [{rate: estimated, coded_images: 0}]
wandb: {mode: disabled}
"""
STUDIES = (
    ("depth", "reconstruction", 4, "context: checkerboard, synthesis_input: both", ""),
    ("detection", "segmentation", 5, "context: masked, hyperprior: true", ", scale: 0.5"),
    ("segmentation", "classification", 4, "context: none, reconstruction_decoder: false", ""),
    ("reconstruction", "depth", 48, "context: checkerboard, hyperprior: true", ""),
    ("reconstruction", "segmentation", 32, "context: masked", ""),
)
QUICK = STUDIES[:1]


@dataclass
class Figures:
    """What came of all files."""

    seed: int
    files: int = 0
    decoded: int = 0
    refused: int = 0
    by_kind: dict[str, Counter[str]] = field(
        default_factory=lambda: {kind: Counter() for kind in KINDS}
    )
    slowest_s: float = 0.0  # of processor time
    slowest: str = ""
    slowest_by_kind: dict[str, float] = field(default_factory=lambda: dict.fromkeys(KINDS, 0.0))
    most_mib: float = 0.0  # resident, above what the loaded models take
    most: str = ""
    grown_mib: float = 0.0  # of a process, after all its files
    reasons: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def add(self, said: dict[str, Any]) -> None:
        """Counts what a process said of a file."""
        name = f"file {said['number']} ({said['kind']})"
        self.files += 1
        self.decoded += said["decoded"]
        self.refused += not said["decoded"]
        self.by_kind[said["kind"]]["decoded" if said["decoded"] else "refused"] += 1
        self.reasons.update(said["reasons"])
        mine = self.slowest_by_kind
        mine[said["kind"]] = max(mine[said["kind"]], said["cpu_s"])
        if said["cpu_s"] > self.slowest_s:
            self.slowest_s, self.slowest = said["cpu_s"], name
        if said["mib"] > self.most_mib:
            self.most_mib, self.most = said["mib"], name
        self.grown_mib = max(self.grown_mib, said["grown_mib"])
        if said["cpu_s"] > LIMIT_S:
            self.wrong.append(f"{name}: {said['cpu_s']:.2f} s of processor time; {said['why']}")
        self.wrong += [f"{name}: {line}" for line in said["wrong"]]

    def summary(self) -> str:
        lines = [
            f"{'kind':20} {'decoded':>8} {'refused':>8} {'slowest s':>10}",
            *(
                f"{kind:20} {found['decoded']:8} {found['refused']:8} "
                f"{self.slowest_by_kind[kind]:10.3f}"
                for kind, found in self.by_kind.items()
            ),
            f"{'all':20} {self.decoded:8} {self.refused:8} {self.slowest_s:10.3f}",
            *(f"{count:8} {reason}" for reason, count in self.reasons.most_common()),
            f"seed {self.seed}: {self.files} files",
            f"slowest: {self.slowest_s:.3f} s of processor time, {self.slowest}",
            f"most memory: {self.most_mib:.0f} MiB above the loaded models, {self.most}",
            f"a process has grown by {self.grown_mib:.0f} MiB of addresses at most",
            *(f"WRONG {line}" for line in self.wrong),
            "all as they should be" if not self.wrong else f"{len(self.wrong)} NOT as they should",
        ]
        return "\n".join(lines)


def prepare(folder: Path, studies: Sequence[tuple[Any, ...]] = STUDIES) -> None:
    """Trains the trials and codes images with them: ``folder``/runs, /originals, /escapes."""
    import torch

    from tcc.plan import expand
    from tcc.records import TrialRecord
    from tcc.spec import parse_spec
    from tcc.stores import open_store
    from tcc.trial import attempt
    from tcc.trial.files import encode

    torch.set_num_threads(1)
    store, images = open_store(folder / "runs"), _images(folder / "images")
    for fields in studies:
        for trial in expand(parse_spec(STUDY % fields)):
            record = attempt(trial, store)
            assert isinstance(record, TrialRecord), record
            if store.record(trial.id) and trial.kind != "pixels":
                out = folder / "coded" / trial.id
                done = encode(trial.id, [images], out, store=store.uri)
                assert not done.failed, done.complaint()
    for name in ("originals", "escapes"):
        (folder / name).mkdir()
    for path in sorted((folder / "coded").glob("*/*.tcc")):
        path.rename(folder / "originals" / f"{path.parent.name}-{path.name}")
    for id in sorted(store.result_ids()):
        _write_escapes(id, folder)


def _images(folder: Path) -> Path:
    import numpy as np
    from PIL import Image

    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index, (height, width) in enumerate(SIZES):
        coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
        picture = Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR)
        picture.save(folder / f"i{index}.png")
    return folder


def _write_escapes(id: str, folder: Path) -> None:
    """A file of a trial whose top layer holds nothing but what no row of a table holds."""
    import torch
    from hostile_files import Parts, taken_apart

    from tcc.trial.files import stored

    found = stored.find(id, str(folder / "runs"))
    originals = [
        taken_apart(path.read_bytes()) for path in (folder / "originals").glob(f"{id}-i4.tcc")
    ]
    if not originals:
        return
    model, parts = stored.load(found), originals[0]
    *_, coder = model.coders().values()
    scale = found.record.trial.recipe.train.scale
    cells = tuple(math.ceil(scale * side / 16) for side in parts.size)
    latent = torch.full((1, coder.entropy.head.out_channels // 2, *cells), 1e6)
    side = None
    if len(parts.layers) > 1 and coder._tower is not None:
        side = model.coders()["base"].decode(parts.layers[0], cells)
    payload = coder.encode(latent, latent, side)
    forged = Parts(size=parts.size, model=parts.model, layers=(*parts.layers[:-1], payload))
    assert parts.model == b"".join(it.trial + it.weights for it in found.models)
    (folder / "escapes" / f"{id}.tcc").write_bytes(forged.file())


def hostiles(folder: Path, seed: int) -> Hostiles:
    """The hostile files of a seed, of what `prepare` made."""
    originals, escapes = (
        [path.read_bytes() for path in sorted((folder / name).iterdir())]
        for name in ("originals", "escapes")
    )
    return Hostiles(seed, originals, escapes)


class Decoder:
    """Decodes one file after the other in this process; each model is loaded once."""

    def __init__(self, folder: Path):
        import torch

        from tcc.trial import files
        from tcc.trial.files import decoders, stored
        from tcc.trial.files.headroom import Headroom

        def found_out(using: Any, model: Any, coders: Any) -> Headroom:
            if using.name not in known:
                known[using.name] = Headroom(using, model, coders)
                known[using.name].look()
            return known[using.name]

        def loaded(using: Any) -> Any:
            if using.name not in models:
                models[using.name] = load(using)
            return models[using.name]

        known: dict[str, Headroom] = {}
        models, load = {}, stored.load
        torch.set_num_threads(1)
        stored.load, decoders.Headroom = loaded, found_out
        self._files, self._folder = files, folder
        self._in, self._out = (folder / f"{name}-{os.getpid()}" for name in ("in", "out"))
        for path in (self._in, self._out):
            path.mkdir()
        for path in sorted((folder / "originals").iterdir()):
            assert self._decode(path, "all").done, path
        self._clear()
        self._begun = _resident("VmSize")

    def _decode(self, path: Path, layer: str) -> Any:
        return self._files.decode([path], self._out, layer=layer, store=str(self._folder / "runs"))

    def look(self, number: int, hostile: Hostile) -> dict[str, Any]:
        """What came of a file, in plain values."""
        from tcc.errors import TccError

        path = self._in / f"h{number}.tcc"
        path.write_bytes(hostile.data)
        _forget_peak()
        before, begun = _resident("VmRSS"), time.process_time()
        outcome, wrong = None, []
        _allow(_resident("VmSize") * 1024 + ROOM)
        try:
            outcome = self._decode(path, hostile.layer)
        except TccError as error:
            wrong.append(f"is no error of the file alone: {error}")
        except BaseException as error:  # noqa: BLE001
            wrong.append(f"{type(error).__name__}: {error}")
        finally:
            _allow(resource.RLIM_INFINITY)
        seconds, taken = time.process_time() - begun, _resident("VmHWM") - before
        why = ""
        if outcome is not None and outcome.failed:
            why = outcome.complaint()
            if str(path) not in why or len(outcome.failed) != 1 or "\n" in why.strip():
                wrong.append(f"an error that is not one line with the file's name: {why}")
            left = sorted(found.name for found in self._out.iterdir())
            if left or outcome.done:
                wrong.append(f"refused, and yet left behind: {', '.join(left)} ({why})")
        elif outcome is not None:
            wrong += self._faults(hostile, outcome.done)
        path.unlink()
        self._clear()
        return {
            "number": number,
            "kind": hostile.kind,
            "decoded": bool(outcome is not None and outcome.done),
            "cpu_s": seconds,
            "mib": taken / 1024,
            "grown_mib": (_resident("VmSize") - self._begun) / 1024,
            "why": why,
            "reasons": [_class_of(why)] if why else [],
            "wrong": wrong,
        }

    def _faults(self, hostile: Hostile, done: Sequence[Any]) -> Iterator[str]:
        """What is wrong with the outputs of a file that was decoded."""
        from hostile_files import taken_apart

        from tcc.formats.image import image_size

        if len(done) != 1 or not done[0].outputs:
            yield f"{len(done)} files were decoded, expected 1 with outputs"
            return
        size = taken_apart(hostile.data).size
        if done[0].size != size:
            yield f"decoded as {done[0].size}, stated is {size}"
        written = set(self._out.iterdir())
        if written != set(done[0].outputs):
            yield f"wrote {written}, told {done[0].outputs}"
        for path in done[0].outputs:
            if path.suffix == ".json":
                json.loads(path.read_text())
            elif image_size(path) != size:
                yield f"{path.name} is of size {image_size(path)}, stated is {size}"

    def _clear(self) -> None:
        for path in self._out.iterdir():
            path.unlink()


def _class_of(why: str) -> str:
    """An error without the values in it."""
    import re

    text = why.split(".tcc: ", 1)[-1]
    text = re.sub(r"b'.*?'|b\".*?\"", "B", text)
    text = re.sub(r"\b[0-9a-f]*\d[0-9a-f.×]*\b…?", "N", text)
    text = re.sub(r"(/\S+)+", "PATH", text)
    return re.sub(r"\(.*?\)", "(…)", text)[:100]


def _resident(field: str) -> int:
    """KiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise AssertionError(field)


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _allow(address_space: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (address_space, hard))


def serve(folder: Path, seed: int, begin: int, end: int) -> None:
    """Decodes files ``begin`` to ``end`` and prints a line on each."""
    decoder, all_ = Decoder(folder), hostiles(folder, seed)
    for number in range(begin, end):
        hostile = all_[number]
        print(json.dumps({"begun": number, "kind": hostile.kind}), flush=True)
        found = decoder.look(number, hostile)
        if found["cpu_s"] > LIMIT_S:  # where memory is short, the system takes its time
            again = decoder.look(number, hostile)
            found["cpu_s"] = min(found["cpu_s"], again["cpu_s"])
        print(json.dumps(found), flush=True)


def fuzz(
    folder: Path,
    seed: int,
    files: int,
    *,
    processes: int = 1,
    tell: Callable[[str], None] = lambda line: None,
) -> Figures:
    """Has so many files decoded, by so many processes at a time."""
    figures = Figures(seed=seed)
    ends = [files * index // processes for index in range(processes + 1)]
    with ThreadPoolExecutor(processes) as pool:
        shares = [
            pool.submit(_share, folder, ends[i : i + 2], figures, tell) for i in range(processes)
        ]
        for share in shares:
            share.result()
    if figures.grown_mib * MEBIBYTE > ROOM:
        figures.wrong.append(f"a process has grown by {figures.grown_mib:.0f} MiB over its files")
    return figures


def _share(
    folder: Path, ends: Sequence[int], figures: Figures, tell: Callable[[str], None]
) -> None:
    """Has files decoded by one process at a time; one that dies or hangs is replaced."""
    (at, end), told, known = ends, time.monotonic(), 0
    while at < end:
        command = [sys.executable, __file__, "--folder", str(folder), "--seed", str(figures.seed)]
        command += ["--serve", str(at), str(end)]
        doing, said_last = None, folder / f"stderr-{ends[0]}.txt"
        with (
            said_last.open("w") as err,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=err) as child,
        ):
            for line in _lines(child):
                said = json.loads(line)
                if "begun" in said:
                    doing, at = said, said["begun"] + 1
                    continue
                doing = None
                figures.add(said)
                if time.monotonic() - told > 10:
                    told = time.monotonic()
                    tell(
                        f"{figures.files} files, slowest {figures.slowest_s:.2f} s, "
                        f"most {figures.most_mib:.0f} MiB, wrong {len(figures.wrong)}"
                    )
                    for wrong in figures.wrong[known:]:
                        tell(wrong)
                    known = len(figures.wrong)
            child.kill()
            code = child.wait()
        if doing is not None:
            figures.files += 1
            figures.wrong.append(
                f"file {doing['begun']} ({doing['kind']}): the process hung or died ({code}): "
                f"{said_last.read_text()[-300:]}"
            )
        elif at < end:
            raise RuntimeError(f"no process decodes files: {said_last.read_text()[-1000:]}")


def _lines(child: subprocess.Popen[bytes]) -> Iterator[bytes]:
    """What a process prints, until it ends or says nothing for too long."""
    assert child.stdout is not None
    waits, held = LOADS_WITHIN_S, b""
    while select.select([child.stdout], [], [], waits)[0]:
        more = child.stdout.read1(2**16)  # type: ignore[attr-defined]
        if not more:
            return
        *lines, held = (held + more).split(b"\n")
        yield from lines
        waits = HANGS_AFTER_S


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument(
        "--folder", type=Path, help="for trials and files; default: a temporary one"
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", type=int, nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        serve(asked.folder, asked.seed, *asked.serve)
        return 0
    tell = lambda line: print(line, file=sys.stderr, flush=True)  # noqa: E731
    with tempfile.TemporaryDirectory(prefix="tcc-hostile-") as scratch:
        folder = asked.folder or Path(scratch)
        if not (folder / "escapes").exists():
            tell("training the trials that code and decode")
            prepare(folder)
        found = fuzz(folder, asked.seed, asked.files, processes=asked.processes, tell=tell)
    print(json.dumps(vars(found), indent=2) if asked.json else found.summary())
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
