"""What sums otherwise moves parameters by next to nothing, and no row of a decoder with it."""

from __future__ import annotations

import pytest
import torch
from elsewhere import Job, decoded, decoded_elsewhere, disturbed, encoded, moved, reordered

from tcc.codec.coding import LatentCoder
from tcc.codec.entropy import EntropyModel
from tcc.codec.side import SideTower

C, SIZE = 12, (9, 14)


@pytest.fixture(params=["checkerboard", "masked"])
def job(request) -> Job:
    """An enhancement's latent, of weights that spread μ and σ over the table."""
    torch.manual_seed(0)
    tower = SideTower(C)
    entropy = EntropyModel(
        C, context=request.param, hyperprior=True, side_features=tower.out_features
    )
    with torch.no_grad():
        entropy.head.weight.normal_()
    coder = LatentCoder(entropy.eval(), tower)
    y, side = 5 * torch.randn(1, C, *SIZE), (3 * torch.randn(1, C, *SIZE)).round()
    return Job(coder, y, y.round(), side, coder.encode(y, y.round(), side))


def test_an_equal_network_that_sums_in_another_order_decodes_alike(job):
    before = encoded(job, job.coder)
    after, latent = decoded(job, reordered(job.coder))
    found = moved("", [before], [after], images=1)
    assert torch.equal(latent, job.y_hat)
    assert 0 < found.mean_step < 1e-11
    assert 0 < found.scale_step < 1e-11
    assert found.expected < 1e-9


def test_steps_foretell_the_rows_that_change(job):
    before = encoded(job, job.coder)
    assert before.means.numel() == C * SIZE[0] * SIZE[1]
    assert before.rows[1].unique().numel() > 50
    for share in (1e-12, 1e-3):
        after = encoded(job, disturbed(job.coder, share))
        found = moved("", [before], [after], images=1)
        if share == 1e-12:
            assert 1e-10 < found.expected < 1e-5
            assert found.changed == 0
        else:
            assert found.expected > 20
            assert found.changed == pytest.approx(found.expected, rel=0.4)


def test_where_no_dl_library_helps_nothing_changes(job):
    with torch.backends.mkldnn.flags(enabled=False):
        assert torch.equal(decoded(job, job.coder)[1], job.y_hat)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_another_process_with_the_oldest_instructions_decodes_alike(job, tmp_path):
    ((found, latent),) = decoded_elsewhere([job], tmp_path)
    assert torch.equal(latent, job.y_hat)
    assert torch.equal(found.rows, decoded(job, job.coder)[0].rows)
