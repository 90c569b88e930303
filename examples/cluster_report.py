"""A script of one's own: a line for each node of a cluster, and what it costs to be wrong about none of them.

Usage: ``python3 examples/cluster_report.py [SEED]``, with iris_admin installed. The seed is any node (default:
``IRIS_ADMIN_NODE``); the cookie is found as the command line finds it.
"""

from __future__ import annotations

import os
import sys

import iris_admin
from iris_admin.errors import IrisAdminError


def main() -> int:
    """Print the report; the exit code is that of the first error, or 0."""
    seed = sys.argv[1] if len(sys.argv) > 1 else os.environ["IRIS_ADMIN_NODE"]
    exit_code = 0
    try:
        with iris_admin.connect_cluster(seed) as cluster:
            memory = cluster.memory()
            for name, stats in cluster.stats().items():
                # One node's failure stands in its place, and is no other's.
                if isinstance(stats, IrisAdminError):
                    print(f"{name}: {stats}")
                    exit_code = exit_code or stats.exit_code
                    continue
                used = stats.processes / stats.process_limit
                print(
                    f"{name}: {stats.role}, OTP {stats.otp_release}, up {stats.uptime / 3600:.1f} h, "
                    f"{memory[name].total / 2**20:.0f} MiB, {used:.1%} of its processes, run queue {stats.run_queue}"
                )
    except IrisAdminError as error:
        print(f"{error}\n{error.hint or ''}", file=sys.stderr)
        return error.exit_code
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
