#!/bin/bash
# One training on two nodes with eight GPUs each, which saves before its time is over and goes on:
#
#   sbatch docs/slurm.sh experiment=gkd teacher=qwen2_5 student=qwen2_5 placement=sharded placement.replicas=2
#
# What follows the script are overrides of distillkit train. Options before it change what is asked
# of Slurm: sbatch --nodes=1 --gpus-per-node=0 --cpus-per-task=2 docs/slurm.sh ... trains in two
# processes without a GPU. The environment of distillkit has to be active where sbatch is called.
#
#SBATCH --job-name=distillkit
#SBATCH --nodes=2
# One torchrun a node; it starts a process for each GPU.
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
# This script is told ten minutes before the end: a large model takes a while to be written.
#SBATCH --signal=B:USR1@600
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log

# The processes find each other on the first node, where another job has another port.
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((20000 + SLURM_JOB_ID % 10000))

# torchrun kills what has not ended so many seconds after a signal; before PyTorch 2.12 always 30.
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=540

# srun does not take cores a task from the lines above by itself.
srun --cpus-per-task="$SLURM_CPUS_PER_TASK" --kill-on-bad-exit=1 torchrun \
    --nnodes "$SLURM_JOB_NUM_NODES" --nproc-per-node "${SLURM_GPUS_ON_NODE:-$SLURM_CPUS_PER_TASK}" \
    --rdzv-id "$SLURM_JOB_ID" --rdzv-backend c10d --rdzv-endpoint "$head:$port" \
    -m distillkit train "$@" &
step=$!

# All save on SIGTERM; then the job waits for nodes once more, and goes on from there.
stopped=
trap 'stopped=1; scancel --signal=TERM "$SLURM_JOB_ID.0"' USR1
wait "$step"
code=$?
if [ -n "$stopped" ]; then
    # That wait was over with the signal, not with the step.
    wait "$step"
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
