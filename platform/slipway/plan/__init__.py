"""The Plan: everything that follows from a configuration and costs no GPU. Imports no torch."""

from slipway.plan.plan import Plan, make_plan

__all__ = ["Plan", "make_plan"]
