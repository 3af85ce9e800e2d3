"""The technical part of an application for computer time, from a plan and a scaling measurement."""
