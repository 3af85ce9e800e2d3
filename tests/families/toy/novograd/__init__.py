"""NovoGrad (Ginsburg et al. 2019, arXiv 1905.11286): its second moment is one number for each parameter."""
