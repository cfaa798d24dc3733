"""The exceptions to the rules, each with its reason.

`make check` also reports an exception that no violation needs any more.
"""

# (rule, place): reason
EXCEPTIONS: dict[tuple[str, str], str] = {
    ("module size", "amoc_gevent.hosts.agent"): "one file, sent over ssh",
    ("clock", "amoc_gevent.hosts.agent"): "it runs alone, without the package",
    ("error root", "amoc_gevent.hosts.agent:Failed"): "it runs alone, without the package",
    (
        "error root",
        "amoc_gevent.worker.watchdog:UserBlocked",
    ): "a scenario's `except Exception` must not catch it",
    (
        "error root",
        "amoc_gevent.user:UserLeaving",
    ): "no `except Exception` of a scenario shall catch it",
    ("error root", "amoc_gevent.user:_Woken"): "no `except Exception` of a scenario shall catch it",
    ("error root", "amoc_gevent.cli.steering.prompt:EndedBySignal"): "a signal ends the process",
}
