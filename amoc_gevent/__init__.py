"""amoc for Python: load testing for HTTP and XMPP, a greenlet per user, a process per core.

A scenario imports what it uses: ``from amoc_gevent import http, metrics, settings, user``.
"""

__version__ = "0.1.0"
