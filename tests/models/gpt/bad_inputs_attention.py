"""What users get wrong with attention: rows of the table in tests/bad_inputs.py, all of `slipway plan`."""

from bad_inputs import BadInput

SCALING = "plan model.rope_scaling="
FIELD = "model.rope_scaling"
YARN = "type:yarn,factor:8,original_max_position_embeddings:64"

ROWS = [
    BadInput("a scaling of no kind", SCALING + "{type:llama2,factor:8}", f"{FIELD}.type", ("llama2", "yarn")),
    BadInput("a scaling without its kind", SCALING + "{factor:8}", f"{FIELD}.type", (f"{FIELD}.type=...",)),
    BadInput("a scaling that is a number", SCALING + "8", FIELD, ("8",)),
    BadInput(
        "yarn without its context",
        SCALING + "{type:yarn,factor:8}",
        f"{FIELD}.original_max_position_embeddings",
        ("original_max_position_embeddings=...",),
    ),
    BadInput("a scaling below one", SCALING + "{type:llama3,factor:0.5}", f"{FIELD}.factor", ("0.5", "1")),
    BadInput("a scaling by a switch", SCALING + "{type:llama3,factor:true}", f"{FIELD}.factor", ("true",)),
    BadInput(
        "another kind's number",
        SCALING + "{type:llama3,factor:8,beta_fast:1}",
        f"{FIELD}.beta_fast",
        ("1", FIELD),
    ),
    BadInput(
        "low frequencies above high ones",
        SCALING + "{type:llama3,factor:8,low_freq_factor:4}",
        FIELD,
        ("4", "high_freq_factor"),
    ),
    BadInput("slow pairs above fast ones", SCALING + f"{{{YARN},beta_slow:32}}", FIELD, ("32", "beta_fast")),
    BadInput("half of a scale", SCALING + f"{{{YARN},mscale:1}}", FIELD, ("mscale", "mscale_all_dim")),
    BadInput(
        "two scales",
        SCALING + f"{{{YARN},mscale:1,mscale_all_dim:1,attention_factor:1}}",
        FIELD,
        ("attention_factor", "mscale"),
    ),
    BadInput(
        "a scaling of learned positions",
        SCALING + "{type:llama3,factor:8} model.position_embedding_type=learned_absolute",
        FIELD,
        ("llama3", "learned_absolute"),
    ),
    BadInput(
        "a key of another kind of scaling than a preset's",
        "plan model=llama3_405b ++model.rope_scaling.beta_fast=8",
        f"{FIELD}.beta_fast",
        ("8",),
    ),
    BadInput(
        "a window above the sequence",
        "plan model.window_size=257",
        "model.window_size",
        ("257", "data.sequence_length", "256"),
    ),
    BadInput("a window of nothing", "plan model.window_size=0", "model.window_size", ("0",)),
    BadInput(
        "full layers without a window",
        "plan model.window_attn_skip_freq=2",
        "model.window_attn_skip_freq",
        ("2", "model.window_size", "null"),
    ),
    BadInput(
        "full layers for another number of layers",
        "plan model.window_size=8 model.window_attn_skip_freq=[1,0,1]",
        "model.window_attn_skip_freq",
        ("3", "model.num_layers", "4"),
    ),
    BadInput(
        "a window for no layer",
        "plan model.window_size=8 model.window_attn_skip_freq=1",
        "model.window_attn_skip_freq",
        ("1", "8", "model.window_size=null"),
    ),
    BadInput(
        "a window for no layer of a list",
        "plan model.window_size=8 model.window_attn_skip_freq=[0,0,0,0]",
        "model.window_attn_skip_freq",
        ("8", "model.window_size=null"),
    ),
    BadInput(
        "full layers by other numbers",
        "plan model.window_size=8 model.window_attn_skip_freq=[1,2,0,1]",
        "model.window_attn_skip_freq",
        ("[1, 2, 0, 1]",),
    ),
    BadInput(
        "full layers by a switch",
        "plan model.window_size=8 model.window_attn_skip_freq=true",
        "model.window_attn_skip_freq",
        ("true",),
    ),
    BadInput(
        "a window in a comparison with plain PyTorch",
        "bench compare model.window_size=8",
        "model.window_size",
        ("8", "null"),
    ),
    BadInput(
        "normalized queries in a comparison",
        "bench compare model.qk_layernorm=true",
        "model.qk_layernorm",
        ("true", "false"),
    ),
    BadInput(
        "a window in measurements of kernels",
        "bench kernels model.window_size=8",
        "model.window_size",
        ("8", "null"),
    ),
]
