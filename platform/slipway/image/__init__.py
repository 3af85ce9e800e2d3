"""The image for Docker, podman and Apptainer: to build, record, convert, test, list, sign and verify it."""
