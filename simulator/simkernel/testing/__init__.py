"""What tests use of simkernel beyond runs: fixtures of a simulated world, and the pytest plugin's insides."""

from simkernel.testing.provided import simulated_fixture

__all__ = ["simulated_fixture"]
