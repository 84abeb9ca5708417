"""What things cost, as ratios measured in one run: `python -m loadtests.bench`.

Absolute figures depend on the machine and its mood; a ratio of two things measured in turn, many times, does not. Every
benchmark here alternates its contestants and quotes the median of the pairs.
"""
