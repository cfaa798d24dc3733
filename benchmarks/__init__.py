"""Benchmarks that compare amoc with other load testers in the same run on the same machine.

``python -m benchmarks [NAME ...] [--quick]``. A missed bar is printed and does not change the exit
code, because the machine is shared and noisy. A failed measurement, such as a missing peer, does.
"""
