"""The benchmark of the operator: `benchmarks/run`."""
