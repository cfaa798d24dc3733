"""The exceptions to the rules, each with its reason.

`make check` also reports an exception that no violation needs any more.
"""

SPLIT_NEXT = "to be split with the next change of its package"

# (rule, place): reason
EXCEPTIONS: dict[tuple[str, str], str] = {
    ("module size", "amoc_gevent.hosts.agent"): "one file, sent over ssh",
    ("clock", "amoc_gevent.hosts.agent"): "it runs alone, without the package",
    ("error root", "amoc_gevent.hosts.agent:Failed"): "it runs alone, without the package",
    ("error root", "amoc_gevent.worker.watchdog:UserBlocked"): "scenarios must not catch it",
    ("error root", "amoc_gevent.cli.steering.prompt:ToldToEnd"): "a signal ends the process",
    ("module size", "amoc_gevent.master.master"): SPLIT_NEXT,
    ("module size", "amoc_gevent.node.node"): SPLIT_NEXT,
    ("function size", "amoc_gevent.cli.run:run"): SPLIT_NEXT,
}
