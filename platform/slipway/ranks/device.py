"""The choice of a rank's device among those that it sees. Pure; imports no torch."""

from slipway.errors import UserError
from slipway.ranks.environment import Place


def number(local_rank: int, visible: int) -> int:
    """Return the number of the device for a local rank, among the `visible` ones.

    It is the local rank itself or, if the launcher shows the rank only a share, is counted within the share. Raises
    UserError if no device is visible.
    """
    if visible < 1:
        raise UserError(
            f"local rank {local_rank}",
            "no GPU is visible",
            do="show each rank all GPUs of the job (srun --gpu-bind=none, or CUDA_VISIBLE_DEVICES; AMD: "
            "ROCR_VISIBLE_DEVICES), and start the container with --nv or --rocm",
        )
    return local_rank % visible


def of_rank(place: Place, ranks_here: int, visible: int) -> tuple[int, str | None]:
    """Return a rank's device, and a remark about it; None if there is nothing to remark.

    Args:
        place: The rank's place.
        ranks_here: The number of ranks on this node.
        visible: The number of devices that this rank sees.

    Raises:
        UserError: Ranks would share a device, because one process started them all and they see the same devices.
    """
    chosen = number(place.local_rank, visible)
    if visible >= ranks_here:
        return chosen, None
    if place.own_store:
        raise UserError(
            "resources.devices_per_node",
            f"ranks run on this machine, but only {visible} GPUs are visible",
            value=ranks_here,
            use=f"up to {visible}, or show more (CUDA_VISIBLE_DEVICES; AMD: ROCR_VISIBLE_DEVICES)",
        )
    return chosen, (
        f"devices: rank {place.rank} sees {visible} of its node's {ranks_here} GPUs and takes number {chosen}. Where "
        "ranks cannot open each other's GPUs, NCCL has no peer-to-peer access within the node and is slower: show all "
        "of them to each rank (srun --gpu-bind=none, not --gpus-per-task; cluster.slurm.show_all_devices=true)"
    )
