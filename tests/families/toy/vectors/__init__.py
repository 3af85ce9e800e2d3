"""A kind of data that is drawn from a generator: nothing is prepared, no file is read."""
