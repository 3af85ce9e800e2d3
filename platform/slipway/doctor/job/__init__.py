"""All ranks of a job together: how they talk, the collectives they try, what rank 0 concludes."""
