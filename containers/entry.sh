#!/bin/sh
# The image's entry: sets the environment, then becomes the command, so that signals reach it.
# Usage: slipway-entry COMMAND [ARGUMENT ...]
set -eu
. /opt/slipway/etc/env.sh
if [ $# -eq 0 ]; then
    set -- slipway --help
fi
exec "$@"
