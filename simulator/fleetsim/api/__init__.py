"""What the servers say: vLLM 0.33's routes, without sockets."""

from fleetsim.api.app import make_app

__all__ = ["make_app"]
