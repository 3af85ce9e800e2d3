"""Activations by transformers' names, and what they are here."""

GELU = {"gelu": "gelu"}
# One function, in transformers' several ways of writing it: x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
TANH = dict.fromkeys(("gelu_new", "gelu_pytorch_tanh", "gelu_fast"), "gelu_tanh")
SILU = dict.fromkeys(("silu", "swish"), "swiglu")  # of the gate
