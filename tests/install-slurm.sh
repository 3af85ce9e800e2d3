#!/bin/sh
# Slurm, its accounting, munge, ip: for the tests that start a cluster. Debian and its kin, as root; half a minute,
# nothing where they are there. No service is started: the tests start daemons of their own.
set -eu
for program in slurmctld slurmd sbatch munged slurmdbd mariadbd ip tc; do
    PATH=$PATH:/usr/sbin command -v "$program" >/dev/null || missing="${missing:-} $program"
done
[ -n "${missing:-}" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "missing:$missing; this installs them with apt-get, as root" >&2
    exit 1
fi
policy=/usr/sbin/policy-rc.d # asked by the packages whether to start their services
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq install --no-install-recommends -y slurm-wlm munge slurmdbd mariadb-server iproute2 >/dev/null
