"""A batch script for SLURM clusters."""

import shlex

MEMORY_GB = 2
"""Memory of a worker in GB; it needs about 1 GB with images of 224 pixels."""


def write_sbatch(study: str, nodes: int, cores: int, hours: int) -> str:
    """Write a commented sbatch script that starts scheduler, workers and the run inside one allocation.

    Parameters
    ----------
    study : str
        The study's folder, on a disk that all nodes mount under the same path.

    Returns
    -------
    str
        The script. A job that was stopped can be submitted again and resumes.

    Examples
    --------
    >>> "#SBATCH --nodes=4" in write_sbatch("mystudy", 4, 16, 24)
    True
    """
    return f"""#!/bin/bash
# A run of traitlens on several computers. Hand it in with: sbatch THIS_FILE
# Stopped half-way (time, memory, a failed computer), hand the same file in again: it goes on where it was.
#SBATCH --job-name=traitlens
#SBATCH --nodes={nodes}                    # computers; the run itself is on the first
#SBATCH --ntasks-per-node={cores}          # workers on each, one core each
#SBATCH --cpus-per-task=1
#SBATCH --mem-per-cpu={MEMORY_GB}G               # a worker takes about 1 GB with images of 224 pixels
#SBATCH --time={hours}:00:00
#SBATCH --output=traitlens-%j.log
# #SBATCH --account=...              # your cluster may want these two
# #SBATCH --partition=...

set -euo pipefail

# The environment in which traitlens is installed: pip install "traitlens[cluster]"
# source ~/venv/bin/activate

# The study must lie on a disk that all computers see under the same path.
study={shlex.quote(study)}

# Fetch the network's weights once, before many workers ask for them.
traitlens doctor

# Files of this job only: address of the scheduler, and scratch folder of the workers.
place=$(mktemp --directory --tmpdir="$PWD" traitlens-$SLURM_JOB_ID-XXXX)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$place"' EXIT

# The scheduler hands out blocks of images. Dask does not ask who connects: use a network you trust.
python -m distributed.cli.dask_scheduler --scheduler-file "$place/scheduler.json" --no-dashboard &
until [ -s "$place/scheduler.json" ]; do sleep 1; done

# Dask lets workers give memory back at once; arrays that come and go then take half as long again.
export MALLOC_TRIM_THRESHOLD_=4294967296 MALLOC_MMAP_THRESHOLD_=33554432

# One worker on each core; one that dies is started again.
srun --overlap python -m distributed.cli.dask_worker --scheduler-file "$place/scheduler.json" \\
    --nthreads 1 --nworkers 1 --memory-limit 0 --no-dashboard --local-directory "${{TMPDIR:-/tmp}}" &

address=$(python -c 'import json, sys; print(json.load(sys.stdin)["address"])' < "$place/scheduler.json")
traitlens run "$study" --scheduler "$address"
traitlens status "$study/results"
"""
