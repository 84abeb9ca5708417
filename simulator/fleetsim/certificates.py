"""A certificate authority that lives as long as its fleet, and what it vouches for: every server of it."""

from __future__ import annotations

import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fleetsim.extra import missing_extra

__all__ = ["Authority", "Parts"]

_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True, repr=False)
class Parts:
    """What makes the same authority in another process of the fleet, as PEM. `servers` has a private key in it."""

    certificate: str
    servers: str


def _made_for(host: str) -> Parts:
    try:
        import trustme  # noqa: PLC0415 (a fleet without TLS needs neither it nor the 100 ms it takes)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(missing_extra(error) or str(error), name=error.name) from error
    own = trustme.CA(organization_name="fleetsim")
    servers = own.issue_cert(*dict.fromkeys((*_NAMES, host))).private_key_and_cert_chain_pem.bytes()
    return Parts(own.cert_pem.bytes().decode(), servers.decode())


class Authority:
    """Made anew for each fleet: one key and one self-signed certificate of its own, and one for the servers at `host`.

    With `parts` it is the authority they are of. `server` is the context with which the servers speak TLS. No private
    key is ever written to a file that stays. Raises ModuleNotFoundError, saying what to install, where the extra is
    missing.
    """

    def __init__(self, host: str, *, parts: Parts | None = None) -> None:
        self.parts = parts if parts is not None else _made_for(host)
        self.pem = self.parts.certificate.encode()
        self.server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        with tempfile.NamedTemporaryFile("w", prefix="fleetsim-", suffix=".pem") as file:  # its owner's alone
            file.write(self.parts.servers)
            file.flush()
            self.server.load_cert_chain(file.name)

    def __repr__(self) -> str:
        return "<Authority>"

    def client(self) -> ssl.SSLContext:
        """Return a new context that trusts the fleet's servers, and nobody else."""
        return ssl.create_default_context(cadata=self.pem.decode())

    def write(self, path: Path) -> Path:
        """Write its certificate, which is no secret, to `path` as PEM, and return the path. Raises OSError."""
        path.write_bytes(self.pem)
        return path
