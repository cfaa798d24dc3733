"""The certificate of a server, and the authority that the generators trust."""

from pathlib import Path

import trustme


def certificates(directory: Path, host: str) -> tuple[str, str]:
    """Return the paths of two files: certificate with key, and certificate authority."""
    authority = trustme.CA()
    certificate, trusted = directory / "server.pem", directory / "ca.pem"
    authority.issue_cert(host).private_key_and_cert_chain_pem.write_to_path(certificate)
    authority.cert_pem.write_to_path(trusted)
    return str(certificate), str(trusted)
