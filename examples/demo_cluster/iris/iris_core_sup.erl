%% Supervisor of a core node: every child may fail on its own.
-module(iris_core_sup).
-behaviour(supervisor).

-export([start_link/0]).
-export([init/1]).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    Batchers = [#{id => iris_durable_batcher:name(Shard), start => {iris_durable_batcher, start_link, [Shard]}}
                || Shard <- iris_durable_batcher:shards()],
    Workers = [#{id => Module, start => {Module, start_link, []}}
               || Module <- [iris_flow_controller, iris_presence, iris_partition_guard, iris_cluster_manager]],
    Registry = [#{id => pg, start => {iris_core_registry, start_process_groups, []}},
                #{id => iris_core_registry, start => {iris_core_registry, start_link, []}}],
    {ok, {#{strategy => one_for_one, intensity => 10, period => 60}, Workers ++ Batchers ++ Registry}}.
