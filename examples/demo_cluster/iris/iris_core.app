{application, iris_core,
 [{description, "Core node of the demo chat system: storage, presence, health"},
  {vsn, "1.0.0"},
  {modules, [iris_cluster_manager, iris_core, iris_core_registry, iris_core_sup, iris_durable_batcher,
             iris_flow_controller, iris_offline_storage, iris_partition_guard, iris_presence, iris_quorum_write]},
  {registered, [iris_cluster_manager, iris_core_registry, iris_core_sup, iris_flow_controller,
                iris_partition_guard, iris_presence]},
  {applications, [kernel, stdlib, mnesia]},
  {mod, {iris_core, []}},
  {env, [{offline_schema, bucketed},      % bucketed: key {User, Bucket}; bare: key User
         {durability_mode, local},        % local | cluster
         {presence_backend, ets},
         {presence_expiry_ms, 30000},
         {presence_cleanup_ms, 5000},
         {flush_interval_ms, 500},
         {expected_cluster_nodes, []},
         {join_seeds, []},
         {replication_factor, 3}]}]}.
