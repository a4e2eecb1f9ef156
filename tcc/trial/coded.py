"""What coded images cost as files, and how far that is from the estimate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tcc.codec.container import Container, ModelId, overhead
from tcc.codec.geometry import Size
from tcc.methods import Measured
from tcc.records import CodingGap


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one image: bits by stream of its file, and as they are estimated."""

    coded: Mapping[str, float]
    estimated: Mapping[str, float]


def costs(measured: Measured, sizes: Sequence[Size]) -> list[Cost]:
    """Of each image that was coded, in the order of the batch; streams: ``layer.stream``, its
    payload, and ``layer.header``, all of its file beside the payloads."""
    found = []
    for index, payloads in enumerate(zip(*measured.payloads.values(), strict=True)):
        any_model = ModelId.of("0" * 16, "0" * 64, layers=len(payloads))  # of one length, all
        models = (any_model,) * len(payloads)
        file = Container(size=sizes[index], models=models, layers=payloads)
        coded: dict[str, float] = {}
        for layer, payload, beside in zip(measured.payloads, payloads, overhead(file), strict=True):
            coded |= {f"{layer}.stream": 8.0 * len(payload), f"{layer}.header": 8.0 * beside}
        estimated = {stream: float(bits[index]) for stream, bits in measured.bits_by_stream.items()}
        found.append(Cost(coded=coded, estimated=estimated))
    return found


def gap_of(found: Sequence[Cost]) -> CodingGap | None:
    """Over all images; None where none was coded."""
    if not found:
        return None
    return CodingGap(
        images=len(found),
        coded_bits=_sum(cost.coded.values() for cost in found),
        header_bits=_sum(
            [bits for stream, bits in cost.coded.items() if stream.endswith(".header")]
            for cost in found
        ),
        estimated_bits=_sum(cost.estimated.values() for cost in found),
    )


def _sum(of_images: Iterable[Iterable[float]]) -> float:
    return sum(map(sum, of_images))
