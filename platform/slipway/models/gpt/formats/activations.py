"""Activations: transformers' names and ours."""

GELU = {"gelu": "gelu"}
# Transformers' several names of one function: x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
TANH = dict.fromkeys(("gelu_new", "gelu_pytorch_tanh", "gelu_fast"), "gelu_tanh")
SILU = dict.fromkeys(("silu", "swish"), "swiglu")  # the gate's activation
