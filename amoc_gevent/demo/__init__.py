"""Target servers for `amoc demo`, the tests and the benchmarks."""
