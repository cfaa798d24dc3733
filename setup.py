"""Metadata, dependencies and the console script; tools are configured in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
SOURCE = (HERE / "amoc_gevent/__init__.py").read_text()

setup(
    name="amoc_gevent",
    version=re.findall(r'__version__ = "(.+)"', SOURCE)[0],
    description="Load testing for HTTP and XMPP: a greenlet for each user, a process for each core",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    python_requires=">=3.11",
    packages=find_packages(include=["amoc_gevent", "amoc_gevent.*"]),
    package_data={"amoc_gevent": ["py.typed"]},
    install_requires=[
        "gevent>=24.2",  # a greenlet for each user
        "pyzmq>=26",  # the plan and the reports, PUB/SUB and PUSH/PULL
        "msgpack>=1.0.7",  # their encoding
        "click>=8.1",  # the command line
        "requests>=2.31",  # http.RequestsSession
        "idna>=3.4",  # hosts in other scripts (UTS 46); the standard library has IDNA 2003 only
        "httptools>=0.6.1",  # llhttp, the parser under http.Session and the demo server
        "brotli>=1.2",  # Content-Encoding: br, which browsers ask for
        "rich>=13.7",  # the live table
        "dnspython>=2.6",  # SRV records, which no function of the standard library asks for
        "slixmpp>=1.8",  # XMPP: SASL, stanza classes, and the base of SleekXMPP's API
        "prompt_toolkit>=3.0.43",  # the console's prompt, which log lines must not tear
    ],
    extras_require={
        "test": [
            "pytest>=8",
            "pytest-timeout>=2.3",  # a test that hangs fails with its stack
            "pytest-xdist>=3.5",  # while one test lasts a minute, another process runs the others
            "hypothesis>=6.100",  # histograms and intervals against a plain model
            # What httpbin needs, the HTTP peer that requests itself is tested with. It wants
            # greenlet<3, which no present gevent runs on, so the Makefile installs it without.
            "flask>=2.2.4",
            "brotlicffi>=1.1",
            "decorator>=5",
            "six>=1.16",
            "gunicorn>=22",  # serves httpbin
            "trustme>=1.1",  # a certificate authority for the TLS tests
            "psutil>=5.9",  # proves that no process is left behind
        ],
        "release": [
            "shiv>=1.0.8",  # one executable file of all
        ],
        "check": [
            "ruff>=0.6",
            "mypy>=1.11",
            "import-linter>=2.0",
            "types-gevent",
            "types-requests",
        ],
        "bench": [
            "locust>=2.31",  # the peer; Tsung is Debian's
            "hdrhistogram>=0.10",  # the histogram that peers use
            "trustme>=1.1",  # a certificate authority
            "psutil>=5.9",  # CPU time of process trees
        ],
    },
    entry_points={"console_scripts": ["amoc=amoc_gevent.__main__:main"]},
    classifiers=[
        "Programming Language :: Python :: 3.11",
        "Operating System :: POSIX :: Linux",
        "Topic :: Software Development :: Testing :: Traffic Generation",
    ],
)
