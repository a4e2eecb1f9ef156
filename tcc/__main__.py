"""`python -m tcc` is `tcc`."""

from tcc.cli import main

main()
