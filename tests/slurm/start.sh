#!/bin/sh
# Start a Slurm cluster of one node, this machine, whose every file is in FOLDER.
# It has four cards that compute nothing: Slurm counts them and names one to each job that asks for it.
# Needs Debian's slurm-wlm and munge, and root. The daemons' ids are in FOLDER/*.pid; stop.sh ends them.
# Its commands find it through links in /etc/slurm: Snakemake's plugin drops SLURM_CONF inside jobs.
# usage: sh tests/slurm/start.sh FOLDER
set -eu
for name in munged slurmctld slurmd sinfo; do
  if ! command -v "$name" >/dev/null; then
    echo "$name is not installed: apt-get install slurm-wlm munge" >&2
    exit 1
  fi
done
link=/etc/slurm/slurm.conf
if [ -e "$link" ] || [ -e "${link%/*}/gres.conf" ]; then
  echo "$link is there: this machine has a Slurm already" >&2
  exit 1
fi
mkdir -p "$1"
folder=$(cd "$1" && pwd)
mkdir -p "$folder/state" "$folder/spool"
chmod 755 "$folder"

(umask 077 && head -c 1024 /dev/urandom >"$folder/munge.key")
munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" \
  --pid-file="$folder/munged.pid" --log-file="$folder/munged.log" --seed-file="$folder/munge.seed"

# Accounting needs a database; without one squeue knows ended jobs for MinJobAge seconds. Memory and
# CPUs are not this machine's: stages ask for what FLARE23 needs.
cat >"$folder/slurm.conf" <<CONF
ClusterName=kit
SlurmctldHost=$(hostname)(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$folder/munge.socket
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=2,batch_sched_delay=0
MailProg=/bin/true
GresTypes=gpu
SlurmdParameters=config_overrides
MinJobAge=3600
ReturnToService=2
NodeName=$(hostname) NodeAddr=127.0.0.1 CPUs=8 RealMemory=256000 Gres=gpu:4
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF

for number in 0 1 2 3; do
  mknod "$folder/card$number" c 1 3  # as /dev/null
done
echo "Name=gpu File=$folder/card[0-3]" >"$folder/gres.conf"

mkdir -p "${link%/*}"
ln -sfn "$folder/slurm.conf" "$link"
ln -sfn "$folder/gres.conf" "${link%/*}/gres.conf"
slurmctld -c
slurmd -c
for _ in $(seq 60); do
  [ "$(sinfo --noheader --format=%T 2>/dev/null)" = idle ] && exit 0
  sleep 0.5
done
echo "the node did not come up; see $folder/slurmctld.log and slurmd.log" >&2
exit 1
