"""Mixtures of experts that are refused, for tests/test_bad_inputs.py."""

from bad_inputs import BadInput

ROWS = [
    BadInput(
        "shared experts without experts",
        "plan model.moe_shared_expert_intermediate_size=64",
        "model.moe_shared_expert_intermediate_size",
        ("64", "num_moe_experts", "null"),
    ),
    BadInput(
        "a bias of no experts",
        "plan model.moe_router_enable_expert_bias=true",
        "model.moe_router_enable_expert_bias",
        ("true", "num_moe_experts"),
    ),
    BadInput(
        "dense layers only",
        "plan model.num_moe_experts=8 model.add_bias_linear=false model.first_k_dense_replace=4 "
        "model.num_layers=4",
        "model.first_k_dense_replace",
        ("4", "num_layers 4", "at most 3"),
    ),
    BadInput(
        "part of a shared expert",
        "plan model.num_moe_experts=8 model.add_bias_linear=false model.moe_ffn_hidden_size=64 "
        "model.moe_shared_expert_intermediate_size=96",
        "model.moe_shared_expert_intermediate_size",
        ("96 = 1 x 64 + 32", "use 128"),
    ),
    BadInput(
        "width of an expert by tensor parallel",
        "plan model.num_moe_experts=8 model.add_bias_linear=false model.moe_ffn_hidden_size=6 "
        "resources.devices_per_node=4 parallelism.tensor_model_parallel_size=4 parallelism.sequence_parallel=true",
        "model.moe_ffn_hidden_size",
        ("6 = 1 x 4 + 2", "tensor_model_parallel_size 4"),
    ),
    BadInput(
        "shared experts without sequence parallelism",
        "plan model.num_moe_experts=8 model.add_bias_linear=false "
        "model.moe_shared_expert_intermediate_size=512 resources.devices_per_node=2 "
        "parallelism.tensor_model_parallel_size=2",
        "parallelism.sequence_parallel",
        ("false", "true"),
    ),
    BadInput(
        "groups that do not divide the experts",
        "plan model.num_moe_experts=8 model.add_bias_linear=false model.moe_router_num_groups=3 "
        "model.moe_router_group_topk=1",
        "model.num_moe_experts",
        ("8 = 2 x 3 + 2", "moe_router_num_groups 3"),
    ),
    BadInput(
        "more groups visited than there are",
        "plan model.num_moe_experts=8 model.add_bias_linear=false model.moe_router_num_groups=2 "
        "model.moe_router_group_topk=4",
        "model.moe_router_group_topk",
        ("4", "moe_router_num_groups 2"),
    ),
    BadInput(
        "groups of which nobody says how many are visited",
        "plan model.num_moe_experts=8 model.add_bias_linear=false model.moe_router_num_groups=2",
        "model.moe_router_num_groups",
        ("2", "moe_router_group_topk", "null"),
    ),
    BadInput(
        "more experts than the visited groups hold",
        "plan model.num_moe_experts=8 model.add_bias_linear=false model.moe_router_num_groups=4 "
        "model.moe_router_group_topk=1 model.moe_router_topk=4",
        "model.moe_router_topk",
        ("4", "1 x 8 / 4 = 2", "at most 2"),
    ),
    BadInput(
        "groups that cannot be compared",
        "plan model.num_moe_experts=8 model.add_bias_linear=false model.moe_router_num_groups=4 "
        "model.moe_router_group_topk=2 model.moe_router_topk=3",
        "model.moe_router_topk",
        ("3", "moe_router_group_topk 2", "use 4"),
    ),
    BadInput(
        "one expert of weight one",
        "plan model.num_moe_experts=8 model.add_bias_linear=false model.moe_router_topk=1",
        "model.moe_router_topk",
        ("1", "moe_router_pre_softmax=true"),
    ),
    BadInput(
        "softmax before sigmoid",
        "plan model.num_moe_experts=8 model.add_bias_linear=false "
        "model.moe_router_score_function=sigmoid model.moe_router_pre_softmax=true",
        "model.moe_router_pre_softmax",
        ("true", "sigmoid", "false"),
    ),
    BadInput(
        "biases of experts with softmax",
        "plan model.num_moe_experts=8 model.add_bias_linear=false model.moe_router_enable_expert_bias=true",
        "model.moe_router_enable_expert_bias",
        ("true", "softmax", "model.moe_router_score_function=sigmoid"),
    ),
    BadInput(
        "a rate without biases",
        "plan model.num_moe_experts=8 model.add_bias_linear=false model.moe_router_bias_update_rate=0.01",
        "model.moe_router_bias_update_rate",
        ("0.01", "moe_router_enable_expert_bias=true", "0.001"),
    ),
    BadInput(
        "a balancing loss of nothing",
        "plan model.num_moe_experts=8 model.add_bias_linear=false model.moe_aux_loss_coeff=0",
        "model.moe_aux_loss_coeff",
        ("0", "seq_aux_loss", "model.moe_router_load_balancing_type=none"),
    ),
    BadInput(
        "a weight of no balancing loss",
        "plan model.num_moe_experts=8 model.add_bias_linear=false "
        "model.moe_router_load_balancing_type=none model.moe_aux_loss_coeff=0.1",
        "model.moe_aux_loss_coeff",
        ("0.1", "none", "use 0"),
    ),
    BadInput(
        "a z loss of nothing",
        "plan model.num_moe_experts=8 model.add_bias_linear=false model.moe_z_loss_coeff=0",
        "model.moe_z_loss_coeff",
        ("0", "null"),
    ),
    BadInput(
        "an unknown balancing loss",
        "plan model.num_moe_experts=8 model.add_bias_linear=false model.moe_router_load_balancing_type=aux",
        "model.moe_router_load_balancing_type",
        ("aux", "seq_aux_loss"),
    ),
    BadInput(
        "biases of experts with sharded gradients",
        "plan model.num_moe_experts=8 model.add_bias_linear=false "
        "model.moe_router_enable_expert_bias=true model.moe_router_score_function=sigmoid "
        "parallelism=zero2 resources.devices_per_node=2",
        "parallelism.data_parallel_sharding_strategy",
        ("optim_grads", "moe_router_enable_expert_bias=true", "null"),
    ),
]
