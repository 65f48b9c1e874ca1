"""Write a batch script that runs traitlens on a SLURM cluster."""

import shlex

MEMORY_GB = 2
"""Memory requested for each worker in GB; a worker needs about 1 GB with images of 224 x 224 pixels."""


def write_sbatch(study: str, nodes: int, cores: int, hours: int) -> str:
    """Return an sbatch script that starts a Dask scheduler, its workers and the run in one job.

    Parameters
    ----------
    study : str
        Folder of the study, which all nodes must see under the same path.
    nodes, cores, hours : int
        Number of nodes, of cores on each node, and of hours to request.

    Returns
    -------
    str
        The script. A job that was stopped resumes when it is submitted again.

    Examples
    --------
    >>> "#SBATCH --nodes=4" in write_sbatch("mystudy", 4, 16, 24)
    True
    """
    return f"""#!/bin/bash
# Runs traitlens on several computers. Submit it with: sbatch THIS_FILE
# If the job is stopped (time limit, memory, failed computer), submit the same file again: the run resumes.
#SBATCH --job-name=traitlens
#SBATCH --nodes={nodes}                    # computers; the run itself is on the first
#SBATCH --ntasks-per-node={cores}          # workers on each, one core each
#SBATCH --cpus-per-task=1
#SBATCH --mem-per-cpu={MEMORY_GB}G               # a worker needs about 1 GB with images of 224 x 224 pixels
#SBATCH --time={hours}:00:00
#SBATCH --output=traitlens-%j.log
# #SBATCH --account=...              # your cluster may require these two
# #SBATCH --partition=...

set -euo pipefail

# The environment in which traitlens is installed: pip install "traitlens[cluster]"
# source ~/venv/bin/activate

# All computers must see the folder of the study under the same path.
study={shlex.quote(study)}

# Check the installation: versions, weights of the network, writable folders.
traitlens doctor

# Folder for the temporary files of this job, such as the address of the scheduler.
place=$(mktemp --directory --tmpdir="$PWD" traitlens-$SLURM_JOB_ID-XXXX)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$place"' EXIT

# The scheduler distributes blocks of images. Dask lets anyone connect: use only a network that you trust.
python -m distributed.cli.dask_scheduler --scheduler-file "$place/scheduler.json" --no-dashboard &
until [ -s "$place/scheduler.json" ]; do sleep 1; done

# Workers keep freed memory for reuse; with Dask's defaults, computations take 1.5 times as long.
export MALLOC_TRIM_THRESHOLD_=4294967296 MALLOC_MMAP_THRESHOLD_=33554432

# One worker per core; a worker that fails is restarted.
srun --overlap python -m distributed.cli.dask_worker --scheduler-file "$place/scheduler.json" \\
    --nthreads 1 --nworkers 1 --memory-limit 0 --no-dashboard --local-directory "${{TMPDIR:-/tmp}}" &

address=$(python -c 'import json, sys; print(json.load(sys.stdin)["address"])' < "$place/scheduler.json")
traitlens run "$study" --scheduler "$address"
traitlens status "$study/results"
"""
