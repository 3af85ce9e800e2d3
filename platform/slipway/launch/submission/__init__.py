"""Handing what is rendered to a scheduler, and recording it beside each run."""
