"""Servers to load: for `amoc demo`, the tests and the benchmarks."""
