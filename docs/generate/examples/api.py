"""Plan a run and render its job script."""

from slipway.config.compose import compose
from slipway.launch.command import render, workdir_of
from slipway.launch.placement import place
from slipway.plan import make_plan

run = ["model=llama3_8b", "data=any_text", "cluster=leonardo_booster", "resources.nodes=8"]
config = compose([*run, "launch.account=PROJECT"])
plan = make_plan(config)
print(f"{plan.parameters:,} parameters on {plan.world_size} GPUs")
print(f"{plan.memory.largest / 1e9:.1f} GB on the fullest GPU, {plan.time.seconds_per_step:.1f} s per step")

script = render([plan], place(config), workdir_of(config))
print(script.splitlines()[1])
