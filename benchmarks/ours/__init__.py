"""Our side of each row: the same cases as the peers', by the same names."""
