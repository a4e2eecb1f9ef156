"""Learned image codecs: transforms, entropy models and rates, on CompressAI's layers.

Knows of no task and no data set. The way of an image through a scalable codec:

    x ──rescale──pad_to──► g_a ──► y ──round_ste──► ŷ ──► g_s ──crop_to──► image of the coded size
                                   │                │
                                   └─► EntropyModel ◄── side tower(Ŷ of the base)
                                            │
                                            ▼
                                   bits of each image by stream

Shape legend of this room: B batch, C latent channels, H W pixels (padded to multiples of 16),
h w latent cells (H/16, W/16).
"""
