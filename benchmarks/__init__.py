"""What Augury achieves, each figure beside a base measured in the same run: `python -m benchmarks`."""
