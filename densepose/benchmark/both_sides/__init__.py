"""What every contestant runs: inputs, steps and the loop that serves the benchmark.

Imports nothing of either package that is called ``densepose``.
"""
