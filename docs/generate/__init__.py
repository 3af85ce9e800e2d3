"""The reference of the site, generated from the code at every build: `python -m generate FOLDER` (`make docs`)."""
