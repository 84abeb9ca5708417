"""Load tests and benchmarks. Never imported by the product or its tests."""
