"""Load tests and benchmarks. Never imported by the product; its tests import all of it but what needs locust."""
