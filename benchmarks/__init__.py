"""Benchmarks: us and the peers side by side, answers checked."""
