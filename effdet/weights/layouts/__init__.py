"""How the public weight files name their tensors: one module for each layout."""
