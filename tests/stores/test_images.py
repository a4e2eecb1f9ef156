"""Image results of a stored evaluation are decoded when asked for, equal to what was written."""

from __future__ import annotations

import hashlib
import json
import pickle
import subprocess
import sys
from dataclasses import fields, replace

import pytest

from tcc.errors import RecordError
from tcc.records import EvaluationRecord, ImageResult
from tcc.stores import from_json, to_json
from tcc.stores._images import StoredImages


@pytest.fixture
def written(make_evaluation):
    return make_evaluation()


@pytest.fixture
def read(written):
    return from_json(EvaluationRecord, to_json(written))


def test_they_are_equal_to_those_that_were_written(written, read):
    assert isinstance(read.per_image, StoredImages)
    assert read.per_image == written.per_image
    assert written.per_image == read.per_image
    assert tuple(read.per_image) == written.per_image
    assert len(read.per_image) == len(written.per_image)
    assert read.per_image[0] == written.per_image[0]
    assert read.per_image[:1] == written.per_image[:1]
    assert read == written
    assert hash(read) == hash(written)
    assert repr(read) == repr(written)
    assert to_json(read) == to_json(written)


def test_others_are_not_equal(written, read):
    fewer = replace(written, per_image=written.per_image[:-1])
    assert read.per_image != fewer.per_image
    assert from_json(EvaluationRecord, to_json(fewer)).per_image != read.per_image


def test_they_cross_to_another_process(written, read):
    assert pickle.loads(pickle.dumps(read)) == written


def test_plain_ones_hold_the_same(written, read):
    for plain, image in zip(read.per_image.plain(), written.per_image, strict=True):
        assert (plain.key, plain.height, plain.width) == (image.key, image.height, image.width)
        assert plain.bits_by_stream == image.bits_by_stream
        assert plain.metrics == image.metrics
        assert plain.coded_bits == image.coded_bits


def test_plain_ones_have_every_field(read):
    assert type(read.per_image.plain()[0]).__struct_fields__ == tuple(
        field.name for field in fields(ImageResult)
    )


def test_an_evaluation_without_images_reads_back(written):
    empty = replace(written, per_image=())
    assert from_json(EvaluationRecord, to_json(empty)) == empty


@pytest.mark.parametrize(
    ("field", "value"),
    [("height", "many"), ("bits_by_stream", None), ("metrics", {"m": "x"}), ("key", 3)],
)
def test_a_sealed_file_of_wrong_images_is_refused_when_it_is_read(written, field, value):
    head, body = to_json(written).split('\n"record": ')
    record = json.loads(body.rstrip()[:-1])
    record["per_image"][0][field] = value
    text = json.dumps(record)
    sealed = head.replace(
        hashlib.sha256(body.rstrip()[:-1].encode()).hexdigest(),
        hashlib.sha256(text.encode()).hexdigest(),
    )
    with pytest.raises(RecordError, match=f"does not fit EvaluationRecord: per_image.0.{field}"):
        from_json(EvaluationRecord, f'{sealed}\n"record": {text}}}\n')


def test_reading_a_trial_decodes_none_of_them(store, make_record):
    store.commit(make_record())
    code = f"""
from tcc.records import ImageResult
from tcc.stores import open_store

made = []
ImageResult.__post_init__ = lambda self: made.append(1)
store = open_store({str(store.directory)!r}, write=False)
record = store.record("aa11")
print(len(record.evaluations), len(made), len(list(record.evaluations[0].per_image)), len(made))
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    evaluations, before, images, after = map(int, told.stdout.split())
    assert evaluations > 0
    assert before == 0
    assert after == images > 0
