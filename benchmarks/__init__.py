"""Side-by-side timings: this project and its peers on the same inputs, threads and machine, interleaved in one run.

``python -m benchmarks`` runs every row and writes a table; ``python -m benchmarks forward loader`` runs only those. Each
side lives in a process of its own (peers in an environment of their own, made by uv), and only one of them works at a time:
ours, peer, peer, ours, … A row's number is the median over the rounds of the ratio ours / peer's, so that what else the
machine does hits both.
"""
