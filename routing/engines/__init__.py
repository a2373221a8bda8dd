"""Engines: each turns a problem into tours. Only `ortools.py` and `pairing.py` import ortools, only the compiled search imports numba."""
