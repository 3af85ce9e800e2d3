"""The configuration of a run: Hydra composes it, pydantic validates it into a RunConfig."""
