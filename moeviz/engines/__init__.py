"""Running a model over many texts: what it chose, kept as counts."""
