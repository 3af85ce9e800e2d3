"""`slipway launch`: print what the scheduler would be given; with --submit, give it to the scheduler."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from slipway import console
from slipway.config.schema import RunConfig
from slipway.errors import EXIT_DONE, UserError
from slipway.launch import evaluation
from slipway.launch.checks import check_offline
from slipway.launch.placement import Placement, place
from slipway.launch.summary import summarize
from slipway.launch.templates import TRAIN
from slipway.plan import Plan
from slipway.plan.kept import plan_of


def run_words(words: Sequence[str], options: argparse.Namespace) -> int:
    """Launch what the command line composes: one run, or a sweep (-m). Return the exit code.

    Raises UserError if --config-dir does not exist.
    """
    from slipway.config import hydra_app

    words = hydra_app.options_first(words)
    if options.chain is not None:
        words.append(f"launch.chain={options.chain}")
    if options.preflight:
        words.append("launch.preflight=true")
    arguments = hydra_app.parse(words)
    if options.evaluate is not None:
        evaluation.check(options, arguments.multirun)
        return hydra_app.run(words, lambda config: _evaluate(config, options))
    if not arguments.multirun or arguments.cfg or arguments.info:
        return hydra_app.run(words, lambda config: run([config], options))

    from slipway.config.sweep_compose import compose_sweep

    folder = arguments.config_dir and str(Path(arguments.config_dir).resolve())
    if folder and not Path(folder).is_dir():
        raise UserError(
            "--config-dir",
            "does not exist",
            value=arguments.config_dir,
            use="a directory that contains configuration groups",
        )
    return run(compose_sweep(arguments.overrides, folder), options)


def run(configs: Sequence[RunConfig], options: argparse.Namespace) -> int:
    """Launch these runs with one scheduler, in one call of it. Return the exit code.

    Raises UserError, before anything is written, if one of them does not fit the cluster, or if the runs of a sweep
    would be placed differently.
    """
    # Placed first: a request that the cluster cannot place is reported before a batch that does not fit.
    placement = place(configs[0])
    for config in configs:
        check_offline(config, placement.image, placement.scheduler)
    plans = [plan_of(offline(config), workdir_of(config)) for config in configs]
    for plan in plans[1:]:
        if place(plan.config) != placement:
            raise UserError(
                "sweep",
                f"{plan.config.run.name} would be placed differently from {plans[0].config.run.name} (queue, time or "
                "image)",
                do="launch a sweep for each",
            )
    if plans[0].config.logging.wandb.mode != configs[0].logging.wandb.mode:
        cluster = configs[0].cluster.name
        print(
            f"logging.wandb.mode: kept offline: nodes of {cluster} have no internet; `slipway runs sync` uploads",
            file=sys.stderr,
        )
    workdir = workdir_of(plans[0].config)
    text = render(plans, placement, workdir)
    if not options.submit:
        summarize(plans, placement, workdir, submitted=False)
        console.write(text)
        return EXIT_DONE

    from slipway.launch.submission import submit

    submit.check(plans, placement, workdir)
    if placement.scheduler == "local":
        summarize(plans, placement, workdir, submitted=True)
        return submit.run_here(text, plans, placement)
    print(submit.submit(text, plans, placement))
    summarize(plans, placement, workdir, submitted=True)
    submit.say_next(plans, placement)
    return EXIT_DONE


def _evaluate(config: RunConfig, options: argparse.Namespace) -> int:
    """Print the job that evaluates a run's checkpoints, or submit it; it waits for no other job. Raises UserError."""
    plan = plan_of(offline(evaluation.of_job(config)), workdir_of(config))
    placement, workdir = place(plan.config), workdir_of(plan.config)
    check_offline(plan.config, placement.image, placement.scheduler)
    text = render([plan], placement, workdir, evaluation.verb(config, evaluation.words_of(options)))
    what = f"evaluation of {config.run.dir}, 1 x {config.cluster.device.name} on {config.cluster.name}"
    if not options.submit:
        print(f"{what}; dry run: --submit submits it", file=sys.stderr)
        console.write(text)
        return EXIT_DONE

    from slipway.launch.submission import submit

    submit.check([plan], placement, workdir)
    print(what, file=sys.stderr)
    if placement.scheduler == "local":
        return submit.run_here(text, [plan], placement)
    print(submit.submit(text, [plan], placement))
    submit.say_next([plan], placement)
    return EXIT_DONE


def render(plans: Sequence[Plan], placement: Placement, workdir: Path, verb: Sequence[str] = TRAIN) -> str:
    """Return what the scheduler is given, as text.

    verb: what tasks run with the plan: the words after `slipway`, before `--plan FILE`.
    """
    if placement.scheduler == "slurm":
        from slipway.launch import slurm

        return slurm.render(plans, placement, workdir, verb)
    if placement.scheduler == "local":
        from slipway.launch import local

        return local.render(plans, placement, workdir, verb)

    from slipway.launch import kubernetes

    return kubernetes.to_text(kubernetes.manifests(plans, placement, verb))


def workdir_of(config: RunConfig) -> Path:
    """Return the directory that relative paths of the run start from: launch.workdir, else the current directory."""
    return Path(config.launch.workdir) if config.launch.workdir else Path.cwd()


def offline(config: RunConfig) -> RunConfig:
    """Return the run with wandb set to offline if the nodes have no internet: it would wait there in vain."""
    if config.cluster.internet is not False or config.logging.wandb.mode != "online":
        return config
    wandb = config.logging.wandb.model_copy(update={"mode": "offline"})
    return config.model_copy(update={"logging": config.logging.model_copy(update={"wandb": wandb})})
