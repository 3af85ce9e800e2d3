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
        "a key of another kind of scaling, over a preset's",
        "plan model=llama3_405b model.rope_scaling={type:yarn,beta_fast:8}",
        f"{FIELD}.beta_fast",
        (f"++{FIELD}.beta_fast=...",),
    ),
]
