"""Addresses as text."""


def url_host(host: str) -> str:
    """Return `host` as URLs have it: an IPv6 address in brackets (RFC 3986, 3.2.2)."""
    return f"[{host}]" if ":" in host else host


def host_and_port(host: str, port: int) -> str:
    """Return HOST:PORT."""
    return f"{url_host(host)}:{port}"
