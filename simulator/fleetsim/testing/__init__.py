"""What tests use of a fleet beyond the fleet itself: assertions with evidence, the pytest fixtures' insides."""
