"""Tests of amoc_gevent.xmpp."""
