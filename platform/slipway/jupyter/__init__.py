"""`slipway jupyter`: a Jupyter kernel that runs in the image, under Apptainer. Imports no torch."""
