"""The layouts of arXiv 2205.05198, table 5 (A100-80, sequence parallelism, selective recompute), among all others."""

import pytest

from slipway.config.compose import compose
from slipway.plan.search.search import arrangements, ranked, search

A100 = [
    *("cluster=h100_cloud", "cluster.device.name=NVIDIA-A100-SXM4-80GB", "cluster.device.memory_gib=79.15"),
    *("cluster.device.peak_tflops_bf16=312", "cluster.device.compute_capability=8.0"),
    *("cluster.network.intra_node_gb_per_s=300", "cluster.network.inter_node_gb_per_s=25"),
]
# layers, hidden size, heads, devices and samples of a batch, pipeline, virtual stages; tensor 8, microbatches of 1
PUBLISHED = {
    "175B": (96, 12288, 96, 64, 8, 3),
    "530B": (105, 20480, 128, 280, 35, 3),
    "1T": (128, 25600, 160, 512, 64, 1),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_layout_is_among_the_first_ten(name: str) -> None:
    layers, hidden, heads, devices, pipeline, virtual = PUBLISHED[name]
    words = [
        *("model=gpt3_175b", f"model.num_layers={layers}", f"model.hidden_size={hidden}"),
        *(f"model.num_attention_heads={heads}", "model.kv_channels=null", "model.vocab_size=51200"),
        *("data=stdlib", "data.allow_large_models=true", "data.sequence_length=2048"),
        *(f"resources.nodes={devices // 8}", f"training.global_batch_size={devices}", "parallelism=auto"),
    ]
    layouts = ranked(search(compose([*A100, *words])).layouts)
    first = [layout.candidate[:5] for layout, _ in arrangements(layouts)]
    assert (8, pipeline, 1, 1, virtual) in first[:10], first[:20]
    (published,) = [
        layout
        for layout in layouts
        if layout.candidate == (8, pipeline, 1, 1, virtual, 1, "none", "selective")
    ]
    assert layouts[0].seconds is not None and published.seconds is not None
    assert layouts[0].seconds <= published.seconds < 1.25 * layouts[0].seconds
