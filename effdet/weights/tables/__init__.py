"""The literal rows of the named weights, one file for each owner."""
