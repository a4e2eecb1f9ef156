import torch

from tcc.codec.side import SideTower


def test_paper_size_has_about_twelve_million_parameters():
    with torch.device("meta"):
        tower = SideTower(192)
    assert tower.out_features == 384
    assert 11.5e6 < sum(p.numel() for p in tower.parameters()) < 12.5e6


def test_it_gives_its_features_for_every_cell(latent):
    y_hat_base = latent(2, 6, 3, 5)
    for tower in (SideTower(6), SideTower(6, width=7, blocks=1)):
        assert tower(y_hat_base).shape == (2, tower.out_features, 3, 5)
