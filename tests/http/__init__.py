"""Tests of amoc_gevent.http."""
