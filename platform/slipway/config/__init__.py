"""RunConfig: Hydra composes, pydantic validates."""
