"""Images to scalable files and back.

    image ─ encode ─► STEM.tcc ─ decode ─► STEM.LAYER.TASK.png or .json

    encoding   decoding   the two ways
    inputs     many inputs in one go, and what came of each
    decoders   trials' models, loaded, for files of one size
    stored     the finished trials that code files
    headroom   whether memory suffices, found out before it is taken

Images and files of one size that follow each other go through the transforms together. All is
computed on the CPU, so that a file means the same wherever it is decoded.
"""

from tcc.trial.files.decoding import decode
from tcc.trial.files.encoding import encode

__all__ = ["decode", "encode"]
