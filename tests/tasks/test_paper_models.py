"""The models of the paper's size take a training step on a padded batch."""

import pytest
import torch

from tcc import registry


@pytest.mark.parametrize(
    ("task_name", "model"),
    [
        ("classification", "resnet18"),
        ("classification", "resnet50"),
        ("depth", "lraspp_mobilenet_v3_large"),
        ("segmentation", "deeplabv3_resnet50"),
        ("detection", "fasterrcnn_mobilenet_v3_large_320_fpn"),
        pytest.param(
            *("detection", "fasterrcnn_resnet50_fpn_v2"),
            marks=[pytest.mark.slow, pytest.mark.timeout(300)],
        ),
    ],
)
def test_one_training_step(task_name, model, classes, make_padded):
    task = registry.load("tasks", task_name)
    built = task.build(task.Params(model=model), classes[task.label])
    built.to(memory_format=torch.channels_last).train()
    batch = make_padded((64, 96), (80, 72))
    before = {name: parameter.detach().clone() for name, parameter in built.named_parameters()}
    optimizer = torch.optim.Adam(built.parameters(), 1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        distortion = built.distortion(batch.image_B3HW, batch)
    distortion.backward()
    optimizer.step()
    assert distortion.dtype == torch.float32
    assert distortion > 0
    after = dict(built.named_parameters())
    assert all(parameter.isfinite().all() for parameter in after.values())
    assert all(parameter.grad is not None for parameter in after.values())
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    assert len(moved) > 0.95 * len(before)
