"""One image for Docker, podman and Apptainer: built, recorded, converted, tested, listed, signed, verified."""
