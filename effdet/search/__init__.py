"""Searching: architectures by reinforcement learning, and the jobs, the study file and the costs that a search needs."""
