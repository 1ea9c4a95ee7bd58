"""How other frameworks name their tensors, one file for each."""
