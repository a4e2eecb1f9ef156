"""What a training leaves beside its checkpoint: last weights, and what it needs to go on."""

from __future__ import annotations

import hashlib


def test_last_weights_go_with_the_checkpoint_that_they_came_with(store):
    store.save_checkpoint("aa11", lambda path: path.write_bytes(b"best"))
    digest = store.save_last("aa11", lambda path: path.write_bytes(b"last"))
    assert digest == hashlib.sha256(b"last").hexdigest()
    last = store.checkpoint("aa11").with_name("last.safetensors")
    assert last.read_bytes() == b"last"
    assert store.checkpoint("aa11").read_bytes() == b"best"
    store.save_checkpoint("aa11", lambda path: path.write_bytes(b"of another training"))
    assert not last.exists()


def test_the_state_of_a_training_is_kept_until_it_is_cleared(store):
    assert store.state("aa11") is None
    store.clear_state("aa11")  # none is no error
    for content in (b"step 1", b"step 2"):
        store.save_state("aa11", lambda path, content=content: path.write_bytes(content))
        assert store.state("aa11").read_bytes() == content
    store.clear_state("aa11")
    assert store.state("aa11") is None
    assert list((store.directory / "trials" / "aa11").iterdir()) == []
