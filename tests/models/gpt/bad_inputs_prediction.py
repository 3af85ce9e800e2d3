"""What users get wrong with multi-token prediction: rows of the table in tests/test_bad_inputs.py."""

from bad_inputs import BadInput

PLAN = "plan model.mtp_num_layers=1"
FIELD = "model.mtp_num_layers"

ROWS = [
    BadInput(
        "prediction deeper than the model",
        "plan model.mtp_num_layers=5",
        FIELD,
        ("5", "model.num_layers 4", "at most 4"),
    ),
    BadInput(
        "prediction without targets",
        "plan model.mtp_num_layers=2 data.sequence_length=2",
        FIELD,
        ("2", "data.sequence_length 2", "at most 1"),
    ),
    BadInput(
        "weight of no prediction",
        "plan model.mtp_loss_scaling_factor=0.3",
        "model.mtp_loss_scaling_factor",
        ("0.3", FIELD),
    ),
    BadInput(
        "prediction with learned positions",
        f"{PLAN} model.position_embedding_type=learned_absolute",
        FIELD,
        ("1", "model.position_embedding_type=learned_absolute", "null"),
    ),
    BadInput(
        "prediction in FP8",
        f"{PLAN} cluster=local_gpu training.precision=bf16 training.fp8=hybrid",
        FIELD,
        ("1", "training.fp8=hybrid", "null"),
    ),
    BadInput(
        "prediction in a recording",
        f"{PLAN} cluster=local_gpu training.precision=bf16 parallelism.cuda_graph_impl=local",
        FIELD,
        ("1", "parallelism.cuda_graph_impl=local", "null"),
    ),
    BadInput(
        "prediction with user buffers",
        f"{PLAN} cluster=local_gpu training.precision=bf16 resources.devices_per_node=2 "
        "parallelism.tensor_model_parallel_size=2 parallelism.sequence_parallel=true "
        "parallelism.tp_comm_overlap=true kernels.linear=te",
        FIELD,
        ("1", "parallelism.tp_comm_overlap=true", "null"),
    ),
    BadInput(
        "a negative weight of prediction",
        f"{PLAN} model.mtp_loss_scaling_factor=-1",
        "model.mtp_loss_scaling_factor",
        ("-1", "0"),
    ),
    BadInput(
        "no depths of prediction",
        "plan model.mtp_num_layers=0",
        FIELD,
        ("0",),
    ),
]
