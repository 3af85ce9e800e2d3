"""A family that is no language model: vectors in, vectors out, blocks of uneven width, a mean squared error."""
