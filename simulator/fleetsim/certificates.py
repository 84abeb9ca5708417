"""A certificate authority that lives as long as its fleet, and what it vouches for: every server of it."""

from __future__ import annotations

import ssl
from pathlib import Path

from fleetsim.extra import missing_extra

__all__ = ["Authority"]

_NAMES = ("localhost", "127.0.0.1", "::1")


class Authority:
    """Made anew for each fleet: one key and one self-signed certificate of its own, and one for the servers at `host`.

    `server` is the context with which they speak TLS. No private key is ever written to a file that stays. Raises
    ModuleNotFoundError, saying what to install, where the extra is missing.
    """

    def __init__(self, host: str) -> None:
        try:
            import trustme  # noqa: PLC0415 (a fleet without TLS needs neither it nor the 100 ms it takes)
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(missing_extra(error) or str(error), name=error.name) from error
        own = trustme.CA(organization_name="fleetsim")
        self.pem: bytes = own.cert_pem.bytes()
        self.server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        own.issue_cert(*dict.fromkeys((*_NAMES, host))).configure_cert(self.server)

    def __repr__(self) -> str:
        return "<Authority>"

    def client(self) -> ssl.SSLContext:
        """Return a new context that trusts the fleet's servers, and nobody else."""
        return ssl.create_default_context(cadata=self.pem.decode())

    def write(self, path: Path) -> Path:
        """Write its certificate, which is no secret, to `path` as PEM, and return the path. Raises OSError."""
        path.write_bytes(self.pem)
        return path
