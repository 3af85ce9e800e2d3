"""The report as one HTML page that needs no server, no network and no file beside it."""
