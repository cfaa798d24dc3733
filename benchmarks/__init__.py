"""Benchmarks: each figure of ours beside a peer's, taken in the same run on the same machine.

``python -m benchmarks [NAME ...] [--quick]``. A bar that is missed is printed, not an exit code:
the machine is shared and noisy. What cannot be measured, a peer that is not there, is an error.
"""
