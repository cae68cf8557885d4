#!/usr/bin/env bash
# A sweep on the nodes of one Slurm job: sbatch docs/sweeps/slurm.sh SWEEP.toml
# Ray starts on every node, the sweep runs on it, and both end with the job. Needed on all nodes: this environment, and
# a shared folder with SWEEP.toml and its results. For one node leave Ray to the sweep: see docs/SWEEPS.md.
#SBATCH --job-name=circuit-claims
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=12:00:00
#SBATCH --signal=B:TERM@120
set -euo pipefail
sweep=${1:?usage: sbatch docs/sweeps/slurm.sh SWEEP.toml}

export RAY_USAGE_STATS_ENABLED=0
export RAY_task_oom_retries=0        # a model that does not fit is recorded, not asked for ever
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n') # this job's own: no other user of the nodes can join
export RAY_AUTH_TOKEN

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(srun --nodes=1 --ntasks=1 -w "$head" hostname --ip-address | awk '{print $1}'):$((20000 + SLURM_JOB_ID % 10000))
folder=/tmp/ray-$SLURM_JOB_ID
here=(--num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" --object-store-memory=200000000 --block)

sweeping=
# shellcheck disable=SC2329  # the trap calls it
finish() {
  [ -z "$sweeping" ] || kill -TERM "$sweeping" 2>/dev/null || true
  wait "$sweeping" 2>/dev/null || true
  srun --overlap --ntasks-per-node=1 bash -c "ray stop --force >/dev/null 2>&1; rm -rf $folder" || true
}
trap finish EXIT
trap 'exit 143' TERM INT # what Slurm sends two minutes before the time is over

srun --overlap --nodes=1 --ntasks=1 -w "$head" ray start --head --node-ip-address="${address%:*}" \
  --port="${address#*:}" --include-dashboard=false --temp-dir="$folder" "${here[@]}" &
until ray status --address "$address" >/dev/null 2>&1; do sleep 2; done
if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
  others=$((SLURM_JOB_NUM_NODES - 1))
  srun --overlap --nodes="$others" --ntasks="$others" --exclude="$head" ray start --address="$address" "${here[@]}" &
fi

circuit-claims sweep "$sweep" --address "$address" &
sweeping=$!
status=0
wait "$sweeping" || status=$?
sweeping=
exit "$status"
