"""The sweep file: YAML merged with overrides, validated to a frozen `SweepSpec`.

    file ─── read ── Document ── validate ── check ── SweepSpec
            lines, overrides,    the shape   names, data,
            interpolation                    labels, grids

Each step reports what is wrong, takes it out and goes on, so that one run lists every problem.
"""

from tcc.spec.grids import pair_grid
from tcc.spec.load import load_spec, parse_spec, read_settings, resolved_yaml
from tcc.spec.schema import SweepSpec

__all__ = ["SweepSpec", "load_spec", "pair_grid", "parse_spec", "read_settings", "resolved_yaml"]
