"""`slipway image ACTION`: run an action. Every command that it runs is printed; `--dry-run` runs none."""

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path

from slipway import secrets
from slipway.errors import EXIT_DONE, EXIT_FAULT, UserError
from slipway.files import whole
from slipway.image import archive as archives
from slipway.image import build as builds
from slipway.image import engine as engines
from slipway.image import pins, record, sbom, shell, sif, smoke, source, verify, wheels

FOLDER = Path("dist/image")


def run(options: argparse.Namespace) -> int:
    """Run one action. Return the exit code."""
    actions: dict[str, Callable[[argparse.Namespace], int]] = {
        "build": _build,
        "sif": _sif,
        "test": _test,
        "sbom": _sbom,
        "sign": _sign,
        "verify": _verify,
        "inspect": _inspect,
    }
    return actions[options.action](options)


def _folder(options: argparse.Namespace, root: Path) -> Path:
    return options.dir or (FOLDER if Path.cwd() == root else root / FOLDER)


def _build(options: argparse.Namespace) -> int:
    root = pins.checkout(options.context)
    variant = pins.variant(root, options.variant)
    engine = engines.choose(options.engine, options.dry_run)
    build = _asked(options, root, variant, engine)
    archive = _folder(options, root) / f"slipway-{variant.name}.tar"
    shell.run(builds.command(build), options.dry_run)
    if options.no_archive:
        return EXIT_DONE
    if options.dry_run:
        shell.run(builds.save(engine, build.tag, archive), dry_run=True)
        return EXIT_DONE
    archive.parent.mkdir(parents=True, exist_ok=True)
    with whole(archive) as beside:
        shell.run(builds.save(engine, build.tag, beside))
    found = archives.read(archive)
    content = {
        "digest": found.digest,
        "tag": build.tag,
        "variant": variant.name,
        "base": build.base or variant.base,
        "archive": archive.name,
        "archive_sha256": archives.file_digest(archive),
        "archive_bytes": archive.stat().st_size,
        "platform": f"{found.config.get('os')}/{found.config.get('architecture')}",
        "engine": shell.answer([engine, "--version"]),
        "labels": found.labels,
    }
    record.write(record.path_of(archive), content)
    print(f"{build.tag} is {found.digest}: {archive}, {record.path_of(archive)}")
    return EXIT_DONE


def _asked(options: argparse.Namespace, root: Path, variant: pins.Variant, engine: str) -> builds.Build:
    folder = wheels.given(options.wheels) if options.wheels else None
    if folder is None and variant.name == "cpu" and not options.torch_index:
        folder = wheels.of_pip(root)
    if options.offline and folder is None:
        raise UserError(
            "image build --offline",
            "needs the folder of wheels",
            do="add --wheels DIR, which holds every locked package",
        )
    if options.apex_source and not (options.apex_source / "setup.py").is_file():
        raise UserError(
            "image build --apex-source",
            "contains no setup.py",
            value=options.apex_source,
            do="name a checkout of apex",
        )
    labels = {
        "VERSION": pins.slipway_version(root),
        "REVISION": source.revision(root),
        "SOURCE": source.address(root),
        "BASE_NAME": options.base or variant.base,
        "PINS": ",".join(f"{name}=={version}" for name, version in variant.versions.items()),
    }
    secrets.check_plain(labels, os.environ, "image.labels")
    return builds.Build(
        engine=engine,
        root=root,
        variant=variant.name,
        tag=options.tag or f"slipway:{variant.name}",
        base=options.base,
        wheels=folder,
        apex_source=options.apex_source.resolve() if options.apex_source else None,
        torch_index=options.torch_index,
        platform=options.platform,
        offline=options.offline,
        cache=not options.no_cache,
        labels=labels,
    )


def _sif(options: argparse.Namespace) -> int:
    root = pins.checkout(options.context)
    if not options.dry_run:
        sif.client()  # before anything is saved
    folder = _folder(options, root)
    default = folder / f"slipway-{options.variant}.tar"
    origin, base = _origin(options, options.target or str(default), folder)
    out = options.out or base
    if not options.dry_run:
        out.parent.mkdir(parents=True, exist_ok=True)
    sif.build(root / "apptainer.def", out, sif.options(origin, options.gzip), options.dry_run)
    if not options.dry_run:
        print(f"{out} is made from {origin.digest}")
    return EXIT_DONE


def _origin(options: argparse.Namespace, asked: str, folder: Path) -> tuple[sif.Origin, Path]:
    """Return what the SIF is made from, and its default path."""
    if asked.startswith("docker://"):
        name, _, digest = asked.removeprefix("docker://").partition("@")
        record.check_digest(
            digest, f"sif {asked}: a registry's image is taken by digest, docker://NAME@sha256:..."
        )
        return sif.Origin("docker", f"{name}@{digest}", digest), folder / f"slipway-{options.variant}.sif"
    if asked.endswith(".tar"):
        path = Path(asked)
        if options.dry_run and not path.exists():
            return sif.Origin("docker-archive", asked, "sha256:..."), path.with_suffix(".sif")
        if not path.exists():
            raise UserError(
                "image sif", "does not exist", value=asked, do="create one with `slipway image build`"
            )
        return sif.Origin("docker-archive", asked, archives.read(path).digest), path.with_suffix(".sif")
    engine = engines.choose(options.engine, options.dry_run)
    place = folder / f"{asked.replace('/', '-').replace(':', '-')}.sif"
    if options.dry_run:
        digest = "sha256:..."
    else:
        found = shell.answer([engine, "image", "inspect", "--format", "{{.Id}}", asked])
        digest = found if found.startswith("sha256:") else f"sha256:{found}"
    if engine == "docker":
        return sif.Origin("docker-daemon", asked if ":" in asked else f"{asked}:latest", digest), place
    archive = place.with_suffix(".tar")
    if not options.dry_run:
        archive.parent.mkdir(parents=True, exist_ok=True)
        archive.unlink(missing_ok=True)  # podman adds to an existing archive
    shell.run(builds.save(engine, asked, archive), options.dry_run)
    return sif.Origin("docker-archive", str(archive), digest), place


def _test(options: argparse.Namespace) -> int:
    if options.target.endswith(".sif"):
        if not options.dry_run:
            shell.need("apptainer", "test")
            _existing(options.target, "test")
        gpu = {"nvidia": "--nv", "amd": "--rocm", None: None}[options.gpu]
        command = smoke.in_apptainer(Path(options.target), gpu)
    else:
        engine = engines.choose(options.engine, options.dry_run)
        command = smoke.in_engine(engine, options.target, options.gpu)
    shell.run(command, options.dry_run)
    return EXIT_DONE


def _sbom(options: argparse.Namespace) -> int:
    root = pins.checkout(options.context) if not options.target else None
    archive = (
        Path(options.target) if root is None else _folder(options, root) / f"slipway-{options.variant}.tar"
    )
    syft = "syft"
    if not options.dry_run:
        syft = shell.of_python("syft", "sbom")
        _existing(str(archive), "sbom")
    shell.run(sbom.command(archive, syft), options.dry_run, environment={**os.environ, **sbom.QUIET})
    if not options.dry_run:
        print("\n".join(str(path) for path in sbom.files(archive).values()))
    return EXIT_DONE


def _sign(options: argparse.Namespace) -> int:
    if not options.dry_run:
        shell.need("apptainer", "sign")
        _existing(options.target, "sign")
    shell.run(verify.sign_command(Path(options.target), _key(options)), options.dry_run)
    return EXIT_DONE


def _verify(options: argparse.Namespace) -> int:
    target = Path(options.target)
    if options.digest and options.record:
        raise UserError("image verify", "--digest and --record both name the image", use="one of them")
    digest = record.check_digest(options.digest, "--digest") if options.digest else None
    if options.record:
        digest = record.read(options.record)["digest"]
    if not options.dry_run:
        shell.need("apptainer", "verify")
        _existing(options.target, "verify")
    good = shell.code_of(verify.verify_command(target, _key(options)), options.dry_run) == 0
    if options.dry_run:
        return EXIT_DONE
    verdict = verify.judge(target, good, sif.labels(target) if good else {}, digest)
    print(verdict.line)
    return EXIT_DONE if verdict.good else EXIT_FAULT


def _key(options: argparse.Namespace) -> Path | None:
    if options.key and not options.dry_run:
        _existing(str(options.key), "--key")
    return options.key


def _inspect(options: argparse.Namespace) -> int:
    target = Path(options.target)
    _existing(options.target, "inspect")
    if target.suffix == ".json":
        content = record.read(target)
    elif target.suffix == ".sif":
        found = sif.labels(target)
        content = {"digest": found.get(sif.DIGEST_LABEL), "labels": found}
    else:
        archive = archives.read(target)
        content = {"digest": archive.digest, "tags": list(archive.tags), "labels": archive.labels}
    if options.json:
        print(json.dumps(content))
        return EXIT_DONE
    for name, value in content.items():
        if isinstance(value, dict):
            print("\n".join(f"{key:<36} {text}" for key, text in sorted(value.items()) if text))
        else:
            print(f"{name:<36} {value}")
    return EXIT_DONE


def _existing(name: str, what: str) -> None:
    if not Path(name).is_file():
        raise UserError(f"image {what}", "is not a file", value=name, do="name an existing file")
