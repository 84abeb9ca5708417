"""One aiohttp session for a whole tree of vLLM agents."""

from swarmpool._version import __version__

__all__ = ["__version__"]
