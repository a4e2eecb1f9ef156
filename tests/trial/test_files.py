"""Images to files and back with tiny trained trials: what comes out, and what is refused."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tcc.codec import container
from tcc.codec.coding import LatentCoder
from tcc.codec.transforms import SynthesisTransform
from tcc.errors import DataError, OutputError, TccError, TrialError, UnknownNameError
from tcc.formats import atomic
from tcc.formats.image import read_indices, read_rgb, read_uint16
from tcc.plan import expand
from tcc.records import TrialRecord
from tcc.spec import parse_spec
from tcc.stores import from_json, open_store, to_json
from tcc.trial import attempt, memory
from tcc.trial.files import decode, encode, headroom, stored

torch.set_num_threads(1)

STUDY = """
study: files
data: {scenes: {train: 8, val: 2, select: 2}}
pairs: [{base: %s, enhancement: %s}]
grid: {lambda_b: [0.3], lambda_e: [0.3], beta: [0]}
also: [direct, standalone, single_layer, uncompressed, pixels]
model: {channels: [4, 6, 8], latent: 4, blocks: 1, %s}
train: {steps: 2, batch: 4, warm_start: pretrain%s}
evaluate: [{rate: estimated, coded_images: 0}]
wandb: {mode: disabled}
"""
STUDIES = {
    "checkerboard": ("depth", "reconstruction", "context: checkerboard, synthesis_input: both", ""),
    "masked": ("detection", "segmentation", "context: masked, hyperprior: true", ", scale: 0.5"),
    "none": ("segmentation", "classification", "context: none, reconstruction_decoder: false", ""),
}
SIZES = ((1, 1), (1, 53), (37, 1), (31, 47), (31, 47), (64, 48))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Context → kind → the record of a tiny trial, and the store of all."""
    root, found = tmp_path_factory.mktemp("files") / "runs", {}
    for name, fields in STUDIES.items():
        plan = expand(parse_spec(STUDY % fields))
        found[name] = {trial.kind: attempt(trial, open_store(root)) for trial in plan}
        assert all(isinstance(x, TrialRecord) for x in found[name].values()), found[name]
    return root, found


@pytest.fixture
def root(trained):
    return str(trained[0])


@pytest.fixture
def ids(trained):
    return {kind: record.trial.id for kind, record in trained[1]["checkerboard"].items()}


@pytest.fixture
def images(tmp_path):
    return make_images(tmp_path / "images")


def make_images(folder: Path, sizes=SIZES) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index, (height, width) in enumerate(sizes):
        coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
        picture = Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR)
        picture.save(folder / f"i{index}.png")
    return folder


def ok(outcome):
    assert not outcome.failed, outcome.failed
    return outcome.done


@pytest.mark.parametrize("context", STUDIES)
@pytest.mark.parametrize(
    "kind",
    ["base", "uncompressed", "direct", "enhancement", "standalone", "single_layer", "pretrain"],
)
def test_images_of_any_size_go_to_files_and_back(trained, context, kind, images, tmp_path):
    root, found = trained
    record = found[context][kind]
    first, second, _, _ = STUDIES[context]
    done = ok(encode(record.trial.id[:10], [images], tmp_path / "coded", store=str(root)))
    assert [item.size for item in done] == list(SIZES)
    assert [item.source.stem for item in done] == [f"i{i}" for i in range(len(SIZES))]
    for item in done:
        (path,) = item.outputs
        data = path.read_bytes()
        assert item.num_bytes == len(data) <= sum(item.layer_bytes) + 24
        assert len(item.layer_bytes) == (2 if kind in ("enhancement", "standalone") else 1)
        held = container.unpack(data, name="")
        assert held.models[-1].matches(record.trial.id, record.training.checkpoint_sha256)

    decoded = ok(decode([tmp_path / "coded"], tmp_path / "out", layer="all", store=str(root)))
    assert [item.size for item in decoded] == list(SIZES)
    auxiliary = ["reconstruction"] if context != "none" else []
    expected = {
        "base": {f"base.{task}" for task in [first, *auxiliary]},
        "direct": {f"base.{second}"},
        "single_layer": {f"base.{second}"},
    }
    expected["uncompressed"], expected["pretrain"] = expected["base"], expected["single_layer"]
    expected["enhancement"] = expected["base"] | {f"enhancement.{second}"}
    expected["standalone"] = expected["enhancement"]
    for item in decoded:
        names = {path.name.removeprefix(f"{item.source.stem}.") for path in item.outputs}
        assert {name.rpartition(".")[0] for name in names} == expected[kind]
        for path in item.outputs:
            check_output(path, item.size)
    assert len(list((tmp_path / "out").iterdir())) == len(SIZES) * len(expected[kind])


def check_output(path: Path, size: tuple[int, int]) -> None:
    """That a written prediction is what its task's file should be."""
    task = path.name.split(".")[2]
    if task == "reconstruction":
        assert read_rgb(path).shape == (*size, 3)
    elif task == "depth":
        raw = read_uint16(path)
        assert raw.shape == size
        assert raw.min() > 0
    elif task == "segmentation":
        with Image.open(path) as picture:
            assert picture.mode == "P"
            assert picture.getpalette()[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]
        assert read_indices(path).shape == size
    else:
        content = json.loads(path.read_text())
        assert set(content) == {"objects" if task == "detection" else "classes"}


@pytest.mark.parametrize(("context", "kind"), [("masked", "enhancement"), ("none", "standalone")])
def test_the_base_alone_is_the_base_of_the_whole(trained, context, kind, images, tmp_path):
    root, found = trained
    top, base = found[context][kind], found[context]["base"]
    done = ok(encode(top.trial.id, [images], tmp_path / "coded", store=str(root)))
    ok(decode([tmp_path / "coded"], tmp_path / "all", layer="all", store=str(root)))
    ok(decode([tmp_path / "coded"], tmp_path / "top", layer="enhancement", store=str(root)))
    for item in done:  # nothing behind the base is needed, nor looked at
        (path,) = item.outputs
        os.truncate(path, item.num_bytes - item.layer_bytes[1] - 2)
    alone = ok(decode([tmp_path / "coded"], tmp_path / "base", layer="base", store=str(root)))
    outputs = {folder: read_folder(tmp_path / folder) for folder in ("all", "top", "base")}
    assert outputs["all"] == outputs["base"] | outputs["top"]
    assert not outputs["base"].keys() & outputs["top"].keys()
    assert {item.layer_bytes for item in alone} == {item.layer_bytes[:1] for item in done}

    # the very latents, too, by the base trial's own model and as the enhancement's sees them
    store = open_store(root, write=False)
    below = stored.load(stored.Stored(base, store)).coders()["base"]
    above = stored.load(stored.Stored(top, store)).coders()["base"]
    for item in done:
        held = container.read(item.outputs[0], layers=1)
        height, width = (-(-side // (2 if context == "masked" else 1)) for side in held.size)
        cells = -(-height // 16), -(-width // 16)
        latent = below.decode(held.layers[0], cells)
        assert torch.equal(latent, above.decode(held.layers[0], cells))
    wrong = decode([tmp_path / "coded"], tmp_path / "no", layer="all", store=str(root))
    assert len(wrong.failed) == len(SIZES)


def read_folder(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_base_of_a_file_is_the_file_of_the_base(trained, images, tmp_path):
    root, found = trained
    for kind in ("base", "enhancement", "direct"):
        id = found["checkerboard"][kind].trial.id
        ok(encode(id, [images], tmp_path / kind, store=str(root)))
    for path in (tmp_path / "base").iterdir():
        same = {container.read(tmp_path / x / path.name, layers=1).layers[0] for x in ("base",)}
        same |= {container.read(tmp_path / "enhancement" / path.name, layers=1).layers[0]}
        same |= {container.read(tmp_path / "direct" / path.name).layers[0]}
        assert len(same) == 1


def test_checkpoints_are_named_by_id_folder_or_file(root, ids, images, tmp_path, monkeypatch):
    folder = Path(root) / "trials" / ids["base"]
    ok(encode(ids["base"], [images], tmp_path / "0", store=root))
    monkeypatch.chdir(folder)
    names = (folder, f"{folder}/", folder / "checkpoint.safetensors", ".", "checkpoint.safetensors")
    for number, name in enumerate(names, 1):
        ok(encode(str(name), [images], tmp_path / str(number), store="nowhere"))
        assert read_folder(tmp_path / str(number)) == read_folder(tmp_path / "0")


def test_files_of_several_trials_are_told_apart(root, ids, images, tmp_path):
    for kind in ("base", "enhancement"):
        ok(encode(ids[kind], [images / "i3.png"], tmp_path / kind, store=root))
        (tmp_path / kind / "i3.tcc").rename(tmp_path / f"{kind}.tcc")
    coded = [tmp_path / "base.tcc", tmp_path / "enhancement.tcc"]
    done = ok(decode(coded, tmp_path / "out", layer="all", store=root))
    assert [item.trial for item in done] == [ids["base"], ids["enhancement"]]
    assert [len(item.outputs) for item in done] == [2, 3]


def test_neither_data_nor_initial_weights_are_needed(trained, images, tmp_path, monkeypatch):
    def untouchable(*_):
        raise AssertionError("the data set was looked at")

    root, found = trained
    monkeypatch.setattr("tcc.trial.files.stored.describe", untouchable)
    monkeypatch.setattr("tcc.trial.data.datasets.describe", untouchable)
    id = found["masked"]["enhancement"].trial.id
    ok(encode(id, [images], tmp_path / "coded", store=str(root)))
    ok(decode([tmp_path / "coded"], tmp_path / "out", layer="all", store=str(root)))


def test_an_older_record_takes_class_names_from_the_data_set(trained, images, tmp_path):
    root = tmp_path / "runs"
    shutil.copytree(trained[0], root)
    record = trained[1]["masked"]["base"]
    text = to_json(record)
    assert from_json(TrialRecord, text).training.classes["boxes"]
    path = root / "trials" / record.trial.id / "result.json"
    held = json.loads(path.read_text())
    store = open_store(root)
    older = from_json(TrialRecord, path.read_bytes())
    store.commit(replace(older, training=replace(older.training, classes={})))
    assert json.loads(path.read_text()) != held
    ok(encode(record.trial.id, [images], tmp_path / "coded", store=str(root)))
    ok(decode([tmp_path / "coded"], tmp_path / "out", layer="base", store=str(root)))


def test_one_bad_image_or_file_does_not_lose_the_others(root, ids, images, tmp_path):
    (images / "i2.png").write_bytes(b"no image")
    (images / "i4.png").write_bytes((images / "i4.png").read_bytes()[:60])
    given = [images, images / "nowhere.png"]
    outcome = encode(ids["enhancement"], given, tmp_path / "coded", store=root)
    assert [item.source.stem for item in outcome.done] == ["i0", "i1", "i3", "i5"]
    assert [path.stem for path in outcome.failed] == ["i2", "i4", "nowhere"]
    assert all(str(path) in why for path, why in outcome.failed.items())
    assert outcome.complaint().startswith("3 of 7 could not be encoded:\n  ")
    assert len(outcome.to_json()["failed"]) == 3

    coded = tmp_path / "coded"
    data = (coded / "i3.tcc").read_bytes()
    (coded / "i1.tcc").write_bytes(data[:-3])
    (coded / "bad.tcc").write_bytes(b"tc\x22\x00")
    (coded / "other.tcc").write_bytes(
        container.pack(
            container.Container(
                size=(31, 47),
                models=(container.ModelId.of("0" * 16, "0" * 64, layers=2),) * 2,
                layers=(b"", b""),
            )
        )
    )
    # whole by its checksums, of the size of its neighbour, and yet no stream
    held = container.unpack(data, name="")
    broken = replace(held, layers=(held.layers[0], b"abc"))
    (coded / "i2.tcc").write_bytes(container.pack(broken))
    found = decode([coded], tmp_path / "out", layer="all", store=root)
    assert {path.stem for path in found.failed} >= {"i1", "bad", "other"}
    assert {"i0", "i3", "i5"} <= {item.source.stem for item in found.done}
    assert "--store" in found.failed[coded / "other.tcc"]


def test_names_that_the_system_refuses_are_one_error_each(root, ids, images, tmp_path):
    loop, long = tmp_path / "loop", tmp_path / ("n" * 300)
    loop.symlink_to(loop)
    (images / "i2.png").unlink()
    (images / "i2.png").symlink_to(images / "i2.png")
    outcome = encode(ids["base"], [loop, long, images], tmp_path / "coded", store=root)
    assert list(outcome.failed) == [loop, long, images / "i2.png"]
    why = ("symbolic links", "File name too long", "symbolic links")
    for (path, told), said in zip(outcome.failed.items(), why, strict=True):
        assert re.search(rf"^{path}: cannot be read as an image \(.*{said}\)$", told)
    assert len(outcome.done) == len(SIZES) - 1
    outcome = decode([loop, long, tmp_path / "coded"], tmp_path / "out", layer="all", store=root)
    assert list(outcome.failed) == [loop, long]
    for (path, told), said in zip(outcome.failed.items(), why[:2], strict=True):
        assert re.search(rf"^{path}: cannot be read \(.*{said}\)$", told)
    for name in (loop, long):
        with pytest.raises(UnknownNameError, match="STORE/trials/ID"):
            encode(str(name), [images], tmp_path / "out", store=root)


def test_what_concerns_all_is_refused_before_anything_is_written(
    root, ids, images, tmp_path, capsys
):
    def refused(error, name, given, match, out=None, store=root):
        with pytest.raises(error, match=match):
            encode(name, given, out or tmp_path / "out", store=store)
        assert not (tmp_path / "out").exists()

    refused(TrialError, ids["pixels"], [images], "`pixels`")
    refused(UnknownNameError, "0123456789abcdef", [images], "--store")
    refused(UnknownNameError, "no id", [images], "STORE/trials/ID")
    refused(UnknownNameError, str(images), [images], "STORE/trials/ID")
    refused(UnknownNameError, ids["base"], [images], "no finished trial", store="nowhere")
    every = open_store(root).result_ids()
    shared = next(c for c in "0123456789abcdef" if sum(x.startswith(c) for x in every) > 1)
    refused(UnknownNameError, shared, [images], f"trials begin with '{shared}'")
    (tmp_path / "more").mkdir()
    shutil.copy(images / "i0.png", tmp_path / "more" / "i0.jpg")
    refused(OutputError, ids["base"], [images, tmp_path / "more"], "would overwrite the other")
    (tmp_path / "empty").mkdir()
    refused(DataError, ids["base"], [tmp_path / "empty"], "no image")
    (tmp_path / "file").touch()
    refused(OutputError, ids["base"], [images], "-o", out=tmp_path / "file")
    refused(OutputError, ids["base"], [images], "-o", out=Path("/proc/no/folder"))
    with pytest.raises(DataError, match=r"no \.tcc file"):
        decode([images], tmp_path / "out", layer="all", store=root)


def test_a_trial_that_is_not_finished_says_so(trained, images, tmp_path):
    record = trained[1]["masked"]["base"]
    store = open_store(tmp_path / "runs")
    store.begin(record.trial)
    with pytest.raises(TrialError, match="not finished"):
        encode(record.trial.id, [images], tmp_path / "out", store=store.uri)


def test_another_checkpoint_is_refused_with_both_named(root, ids, images, tmp_path):
    image = images / "i3.png"
    ok(encode(ids["enhancement"], [image], tmp_path / "coded", store=root))
    coded = [tmp_path / "coded"]
    wrong = decode(coded, tmp_path / "out", layer="all", store=root, checkpoint=ids["single_layer"])
    (why,) = wrong.failed.values()
    assert ids["single_layer"] in why
    assert f"needs trial {ids['enhancement'][:4]}… of weights " in why
    ok(decode(coded, tmp_path / "a", layer="all", store=root, checkpoint=ids["enhancement"]))
    ok(decode(coded, tmp_path / "b", layer="base", store=root, checkpoint=ids["base"]))
    ok(decode(coded, tmp_path / "c", layer="base", store=root))
    ok(decode(coded, tmp_path / "e", layer="base", store=root, checkpoint=ids["enhancement"]))
    assert read_folder(tmp_path / "b") == read_folder(tmp_path / "c") == read_folder(tmp_path / "e")
    assert decode(coded, tmp_path / "d", layer="all", store=root, checkpoint=ids["base"]).failed


def test_a_file_of_one_layer_has_no_enhancement(root, ids, images, tmp_path):
    ok(encode(ids["base"], [images / "i3.png"], tmp_path / "coded", store=root))
    found = decode([tmp_path / "coded"], tmp_path / "out", layer="enhancement", store=root)
    assert found.complaint().endswith("the file has no enhancement; leave --layer out")


def test_weights_that_changed_since_are_told(trained, ids, images, tmp_path):
    root = tmp_path / "runs"
    shutil.copytree(trained[0], root)
    ok(encode(ids["enhancement"], [images / "i3.png"], tmp_path / "coded", store=str(root)))
    path = root / "trials" / ids["enhancement"] / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(TccError, match="not a checkpoint to trust"):
        encode(ids["enhancement"], [images], tmp_path / "out", store=str(root))
    assert (root / "trials" / ids["enhancement"] / "result.json").exists()  # nothing is taken back
    found = decode([tmp_path / "coded"], tmp_path / "out", layer="all", store=str(root))
    assert "not a checkpoint to trust" in found.complaint()
    # the base stands, whatever became of the enhancement
    ok(decode([tmp_path / "coded"], tmp_path / "base", layer="base", store=str(root)))


def test_files_that_cannot_be_written_are_told(root, ids, images, tmp_path, monkeypatch):
    (tmp_path / "out" / "i1.tcc").mkdir(parents=True)
    outcome = encode(ids["base"], [images], tmp_path / "out", store=root)
    assert [path.stem for path in outcome.failed] == ["i1"]
    assert len(outcome.done) == len(SIZES) - 1

    def full(path, _data):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(atomic, "write_bytes", full)
    with pytest.raises(OutputError, match="No space left"):
        encode(ids["base"], [images], tmp_path / "more", store=root)


def test_the_same_again_overwrites(root, ids, images, tmp_path):
    for _ in range(2):
        ok(encode(ids["base"], [images, images / "i0.png"], tmp_path / "coded", store=root))
        ok(decode([tmp_path / "coded"], tmp_path / "out", layer="all", store=root))
    assert len(list((tmp_path / "coded").iterdir())) == len(SIZES)


def test_of_a_file_whose_upper_layer_is_damaged_nothing_is_written(trained, images, tmp_path):
    root, found = trained
    id = found["masked"]["enhancement"].trial.id
    ok(encode(id, [images], tmp_path / "coded", store=str(root)))
    bad = tmp_path / "coded" / "i3.tcc"
    held = container.read(bad)
    flipped = bytes([held.layers[1][0] ^ 1]) + held.layers[1][1:]
    bad.write_bytes(container.pack(replace(held, layers=(held.layers[0], flipped))))
    outcome = decode([tmp_path / "coded"], tmp_path / "out", layer="all", store=str(root))
    assert list(outcome.failed) == [bad]
    assert "was coded with other weights" in outcome.failed[bad]
    assert "\n" not in outcome.failed[bad]
    assert len(outcome.done) == len(SIZES) - 1
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert not [name for name in names if name.startswith("i3.")]
    assert len(names) == 3 * len(outcome.done)


def test_streams_are_decoded_before_a_picture_is_made(trained, images, tmp_path, monkeypatch):
    root, found = trained
    id = found["checkerboard"]["enhancement"].trial.id
    ok(encode(id, [images / "i3.png"], tmp_path / "coded", store=str(root)))
    events = []
    for owner, name in ((LatentCoder, "_decode"), (SynthesisTransform, "forward")):
        real = getattr(owner, name)

        def spy(*given, real=real, name=name):
            events.append(name)
            return real(*given)

        monkeypatch.setattr(owner, name, spy)
    ok(decode([tmp_path / "coded"], tmp_path / "out", layer="all", store=str(root)))
    assert events == ["_decode"] * 2 + ["forward"] * 3


def test_what_cannot_all_be_written_leaves_what_was_there(root, ids, images, tmp_path):
    ok(encode(ids["enhancement"], [images], tmp_path / "coded", store=root))
    out = tmp_path / "out"
    (out / "i3.enhancement.reconstruction.png").mkdir(parents=True)
    (out / "i3.base.depth.png").write_bytes(b"of an earlier command")
    outcome = decode([tmp_path / "coded"], out, layer="all", store=root)
    assert [path.name for path in outcome.failed] == ["i3.tcc"]
    assert f"{out}/i3.enhancement.reconstruction.png: cannot be written" in outcome.complaint()
    left = sorted(path.name for path in out.glob("i3.*"))
    assert left == ["i3.base.depth.png", "i3.enhancement.reconstruction.png"]
    assert (out / "i3.base.depth.png").read_bytes() == b"of an earlier command"
    assert len(list(out.iterdir())) == 2 + 3 * (len(SIZES) - 1)


def test_names_may_be_as_long_as_the_system_lets_them(root, ids, images, tmp_path):
    long, longer = "n" * 240, "m" * 251
    for name in (long, longer):
        shutil.copy(images / "i3.png", images / f"{name}.png")
    ok(encode(ids["base"], [images], tmp_path / "coded", store=root))
    outcome = decode([tmp_path / "coded"], tmp_path / "out", layer="all", store=root)
    assert [path.stem for path in outcome.failed] == [longer, long]
    said = f"/{long}.base.reconstruction.png: cannot be written (File name too long)"
    assert said in outcome.complaint()
    assert len(list((tmp_path / "out").iterdir())) == 2 * len(SIZES)


@pytest.mark.parametrize("layer", [0, 1])
def test_too_few_bytes_for_the_stated_size_are_refused_at_once(
    root, ids, images, tmp_path, monkeypatch, layer
):
    ok(encode(ids["enhancement"], [images / "i3.png"], tmp_path / "coded", store=root))
    path = tmp_path / "coded" / "i3.tcc"
    held = container.read(path)
    layers = [bytes(2**16)] * 2
    layers[layer] = held.layers[layer][:12]
    path.write_bytes(container.pack(replace(held, size=(8192, 8192), layers=tuple(layers))))
    monkeypatch.setattr(LatentCoder, "_decode", lambda *_: pytest.fail("was decoded"))
    monkeypatch.setattr(headroom.Headroom, "look", lambda *_: pytest.fail("was looked at"))
    outcome = decode([path], tmp_path / "out", layer="all", store=root)
    assert re.search(r"i3\.tcc: .*12 bytes cannot hold 512×512 cells", outcome.complaint())


@pytest.mark.parametrize("verb", ["decoding", "encoding"])
def test_an_image_that_memory_does_not_suffice_for_is_refused_with_both_figures(
    root, ids, images, tmp_path, monkeypatch, verb
):
    make_images(tmp_path / "large", sizes=[(400, 600)])
    given = [images / "i3.png", tmp_path / "large" / "i0.png"]
    if verb == "decoding":
        ok(encode(ids["base"], given, tmp_path / "coded", store=root))
        given = [tmp_path / "coded"]

    def run():
        if verb == "encoding":
            return encode(ids["base"], given, tmp_path / "again", store=root)
        return decode(given, tmp_path / "out", layer="all", store=root)

    sizes, real = [], SynthesisTransform.forward

    def spy(transform, y_hat):
        sizes.append(y_hat.shape[-2:])
        return real(transform, y_hat)

    monkeypatch.setattr(SynthesisTransform, "forward", spy)
    monkeypatch.setattr(headroom, "GENEROUS", 2**7)
    monkeypatch.setattr(memory, "left", lambda: 6 * 2**20)
    outcome = run()
    assert [item.source.stem for item in outcome.done] == ["i3"]
    (why,) = outcome.failed.values()
    assert re.search(
        rf"i0\.\w+: {verb} an image of 400×600 pixels with trial {ids['base']} \(.*\) takes about "
        r"0\.0[1-9] GiB of memory, and 0\.01 GiB are left: do it where there is more, or ",
        why,
    )
    assert ("--max-pixels" if verb == "decoding" else "scale it down") in why
    assert (25, 38) not in sizes
    monkeypatch.setattr(memory, "left", lambda: 2**30)
    ok(run())
    assert (25, 38) in sizes


def test_what_a_model_takes_grows_as_it_does(trained):
    root, found = trained
    for context, kind in (("checkerboard", "enhancement"), ("masked", "base"), ("none", "direct")):
        using = stored.find(found[context][kind].trial.id, str(root))
        with torch.inference_mode():
            model = stored.load(using)
            room = headroom.Headroom(using, model, model.coders())
            for line, real in zip(room.look(), room._peaks(192), strict=True):
                assert 0.7 * real < line.at(192 * 192) < 1.5 * real
                assert line.each > 4 * 3  # the image itself, at least


def test_files_of_too_many_pixels_are_refused_where_that_was_asked(root, ids, images, tmp_path):
    ok(encode(ids["base"], [images], tmp_path / "coded", store=root))
    given = dict(layer="all", store=root)
    outcome = decode([tmp_path / "coded"], tmp_path / "out", **given, max_pixels=31 * 47)
    assert [path.stem for path in outcome.failed] == ["i5"]
    assert "size is 64×48 (3072 pixels), asked for were 1457" in outcome.complaint()
    assert len(outcome.done) == len(SIZES) - 1
    ok(decode([tmp_path / "coded"], tmp_path / "out", **given, max_pixels=64 * 48))


def test_a_file_of_no_known_model_is_told_by_its_id(root, ids, images, tmp_path):
    ok(encode(ids["base"], [images / "i3.png"], tmp_path / "coded", store=root))
    path = tmp_path / "coded" / "i3.tcc"
    held = container.read(path)
    of = container.ModelId.of
    for model, said in (
        (of("0badc0de" * 2, "0" * 64, layers=1), f"weights 0000…, which is not in {root}: give"),
        (of(ids["base"], "f00d" * 16, layers=1), f"which is not in {root}, where {ids['base']} ("),
    ):
        path.write_bytes(container.pack(replace(held, models=(model,))))
        outcome = decode([path], tmp_path / "out", layer="all", store=root)
        assert str(path) in outcome.complaint()
        assert f"{path}: needs {model}, which" in outcome.complaint()
        assert said in outcome.complaint()
    assert not list((tmp_path / "out").iterdir())


@pytest.fixture
def only_base(trained, ids, tmp_path):
    """A store that holds the base's trial and no other."""
    place = tmp_path / "elsewhere"
    shutil.copytree(trained[0] / "trials" / ids["base"], place / "trials" / ids["base"])
    return str(place)


def test_the_base_is_decoded_with_its_trial_alone(root, only_base, ids, images, tmp_path):
    for kind in ("enhancement", "standalone"):
        ok(encode(ids[kind], [images], tmp_path / kind, store=root))
    coded = [tmp_path / "enhancement"]
    whole = ok(decode(coded, tmp_path / "all", layer="all", store=root))
    given = (
        {"store": only_base},
        {"store": "nowhere", "checkpoint": f"{only_base}/trials/{ids['base']}"},
    )
    for number, where in enumerate(given):
        done = ok(decode(coded, tmp_path / f"{number}", layer="base", **where))
        assert {item.trial for item in done} == {ids["base"]}
        every = read_folder(tmp_path / "all")
        only = {name: data for name, data in every.items() if ".base." in name}
        assert read_folder(tmp_path / f"{number}") == only
        for item, both in zip(done, whole, strict=True):  # bytes of what was read
            assert item.num_bytes == both.num_bytes - both.layer_bytes[1] - 4
    ok(decode([tmp_path / "standalone"], tmp_path / "2", layer="base", store=only_base))


@pytest.mark.parametrize("layer", ["all", "enhancement"])
def test_what_a_refusal_says_helps(root, only_base, ids, images, tmp_path, layer):
    ok(encode(ids["enhancement"], [images / "i3.png"], tmp_path / "coded", store=root))
    coded, out = [tmp_path / "coded"], tmp_path / "out"
    for given in ({}, {"checkpoint": ids["base"]}):
        why = decode(coded, out, layer=layer, store=only_base, **given).complaint()
        top, base = re.findall(r"needs trial ([0-9a-f]{4})… of weights [0-9a-f]{2}…", why)
        assert ids["enhancement"].startswith(top)
        assert ids["base"].startswith(base)
        assert re.search(r"; --layer base needs \S+ \S+ of weights \S+ alone$", why)
        assert ("leave --checkpoint out, or give that one" if given else "--store, or") in why
    ok(decode(coded, out, layer="base", store=only_base))
    ok(decode(coded, out, layer="base", store=only_base, checkpoint=base))
    ok(decode(coded, out, layer=layer, store=root))
    there = f"{root}/trials/{ids['enhancement']}"
    ok(decode(coded, out, layer=layer, store=only_base, checkpoint=there))
    refused = decode(coded, out, layer="base", store=root, checkpoint=ids["single_layer"])
    assert f"needs trial {base}… of weights" in refused.complaint()
    nowhere = decode(coded, out, layer="base", store=str(tmp_path / "nowhere"))
    assert f"needs trial {base}… of weights" in nowhere.complaint()
    assert "--layer base" not in nowhere.complaint()


def test_of_several_trials_that_may_be_meant_one_is_to_be_given(
    root, only_base, ids, images, tmp_path
):
    ok(encode(ids["enhancement"], [images / "i3.png"], tmp_path / "coded", store=root))
    store, twin = open_store(only_base), ids["base"][:4] + 12 * "0"
    record = store.record(ids["base"])
    shutil.copytree(store.directory / "trials" / ids["base"], store.directory / "trials" / twin)
    store.commit(replace(record, trial=replace(record.trial, id=twin)))
    coded = [tmp_path / "coded"]
    outcome = decode(coded, tmp_path / "out", layer="base", store=only_base)
    for text in (twin, ids["base"], "say which with --checkpoint"):
        assert text in outcome.complaint()
    ok(decode(coded, tmp_path / "out", layer="base", store=only_base, checkpoint=ids["base"]))
    ok(decode(coded, tmp_path / "out", layer="all", store=root))
