"""Statistics of an evaluation: intervals, curves, confusion, kinds of mistakes. They take matches, never a model."""
