"""Kernels of our own in Triton: norms, SwiGLU, rotary embedding. Each is an operator of torch's, `slipway::...`."""
