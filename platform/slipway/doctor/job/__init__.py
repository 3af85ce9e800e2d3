"""All ranks of a job together: how they communicate, the collectives that they try, what rank 0 concludes."""
