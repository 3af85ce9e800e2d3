#!/bin/sh
# The command `slipway` in the image: the environment once more, for those whom `apptainer exec`, a pod's own
# `command:` or APPTAINERENV_* variables bring here past the entry script; -P: nothing from the current folder.
. /opt/slipway/etc/env.sh
trap "" USR1 # a scheduler's warning may come before the trainer listens
exec /opt/slipway/bin/python -P -m slipway "$@"
