"""The names of fields in JSON are an interface: in these lists, names are added at most."""

from __future__ import annotations

from dataclasses import fields

import pytest

from iris_admin.operations.ets import EtsTable, EtsTables
from iris_admin.operations.gc import Collected, Gc
from iris_admin.operations.memory import Memory
from iris_admin.operations.memory_change import MemoryChange
from iris_admin.operations.mnesia_locks import (
    LockedTable,
    MnesiaLock,
    MnesiaLocks,
    MnesiaTransaction,
    MnesiaTransactions,
)
from iris_admin.operations.mnesia_status import MnesiaNode, MnesiaStatus
from iris_admin.operations.mnesia_tables import MnesiaCopy, MnesiaTableCopies, MnesiaTables
from iris_admin.operations.processes import Process, Processes, ProcessRow
from iris_admin.operations.results import Result
from iris_admin.operations.stats import Link, LinkChange, Stats, StatsChange
from iris_admin.operations.system import Disk, System

KINDS = "total processes processes_used system atom atom_used binary code ets"
FIELDS = {
    Memory: f"node {KINDS}",
    MemoryChange: f"node interval_seconds {KINDS} now now_at",
    Stats: "node role uptime otp_release erts_version processes process_limit ports port_limit atoms atom_limit "
    "ets_tables ets_limit run_queue schedulers_online visible_nodes hidden_nodes run_queues reductions "
    "garbage_collections reclaimed_bytes context_switches input_bytes output_bytes scheduler_wall_time links",
    Link: "node hidden queue_bytes busy received_bytes sent_bytes",
    StatsChange: "node interval_seconds processes ports atoms ets_tables reductions garbage_collections "
    "reclaimed_bytes context_switches input_bytes output_bytes scheduler_utilization run_queue run_queues links now",
    LinkChange: "node hidden queue_bytes busy received_bytes sent_bytes",
    System: "node os cpu_count cpu_limit load_1 load_5 load_15 cpu_busy_percent memory_total_bytes "
    "memory_available_bytes swap_total_bytes swap_free_bytes memory_limit_bytes memory_limit_used_bytes "
    "node_resident_bytes node_swapped_bytes open_files_limit disks sources cannot_tell",
    Disk: "name total_bytes used_percent",
    Processes: "node by interval_seconds process_count processes",
    ProcessRow: "pid registered_name initial_call current_function status memory_bytes reductions message_queue_len "
    "binary_bytes change",
    Process: "node pid registered_name initial_call current_function status parent priority trap_exit memory_bytes "
    "heap_bytes stack_bytes binary_bytes reductions message_queue_len message_queue_data max_heap_bytes minor_gcs "
    "links monitors monitored_by stacktrace",
    EtsTables: "node by table_count total_bytes total_rows tables",
    EtsTable: "name named rows bytes type protection owner owner_name",
    Gc: "node scope asked answered total_before_bytes total_after_bytes processes_before_bytes processes_after_bytes "
    "binary_before_bytes binary_after_bytes processes",
    Collected: "pid registered_name initial_call memory_before_bytes memory_after_bytes binary_before_bytes "
    "binary_after_bytes answered",
    MnesiaTables: "nodes unanswered tables tables_cut",
    MnesiaTableCopies: "name type rows bytes copies without_copy master_nodes read_only problems",
    MnesiaCopy: "node storage loaded rows bytes load_node load_reason",
    MnesiaStatus: "interval_seconds nodes unanswered problems",
    MnesiaNode: "node role running version directory running_nodes stopped_nodes down_nodes commits "
    "commits_per_second failures failures_per_second restarts restarts_per_second log_writes log_writes_per_second "
    "transactions participating held_locks queued_locks undecided loading dumping log_bytes dump_write_threshold "
    "dump_time_threshold_seconds overloaded master_node_tables partition_guard partition_note",
    MnesiaLocks: "node held waiting tables locks cut",
    MnesiaLock: "table key whole_table operation waiting transaction pid pid_node",
    LockedTable: "table held waiting",
    MnesiaTransactions: "node count transactions",
    MnesiaTransaction: "transaction kind pid pid_node registered_name initial_call current_function message_queue_len "
    "held_locks waiting_locks",
}


@pytest.mark.parametrize("kind", FIELDS, ids=lambda kind: kind.__name__)
def test_fields(kind: type[Result]) -> None:
    assert [field.name for field in fields(kind)] == FIELDS[kind].split()
