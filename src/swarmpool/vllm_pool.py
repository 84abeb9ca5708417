"""`VLLMPool` by the name of the module that Aurora Swarm has it in, for code that changes nothing but its imports."""

from swarmpool.vllm import VLLMPool

__all__ = ["VLLMPool"]
