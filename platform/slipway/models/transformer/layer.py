"""A transformer layer as the plan sees it. Pure Python."""

from slipway.models.family import Layer
from slipway.models.transformer import activations, buffers, counts
from slipway.models.transformer.share import Share


def planned_layer(share: Share) -> Layer:
    """Return the parameters and bytes of one layer on one rank."""
    return Layer(
        "layer",
        counts.layer(share.block, share.tp, share.layout.expert_model_parallel_size),
        kept_bytes=activations.layer_bytes(share, share.recomputed),
        inside_bytes=activations.inside_bytes(share, share.recomputed),
        shared_bytes=buffers.shared_bytes(share),
        sent_bytes=share.state_bytes,
        matrices=counts.matrices(share.block, share.tp, share.layout.expert_model_parallel_size),
    )
