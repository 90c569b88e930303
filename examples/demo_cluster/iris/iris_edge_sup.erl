%% Supervisor of an edge node. It owns the presence table, so that the table outlives every process
%% that uses it.
-module(iris_edge_sup).
-behaviour(supervisor).

-export([start_link/0]).
-export([init/1]).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    Options = [named_table, public, set, {read_concurrency, true}, {write_concurrency, true}],
    local_presence_v2 = ets:new(local_presence_v2, Options),
    presence_cache = ets:new(presence_cache, Options),
    {ok, Port} = application:get_env(iris_edge, port),
    {ok, WsPort} = application:get_env(iris_edge, ws_port),
    Children = [#{id => pg, start => {iris_core_registry, start_process_groups, []}},
                #{id => iris_circuit_breaker, start => {iris_circuit_breaker, start_link, []}}]
        ++ [#{id => iris_async_router:name(Shard), start => {iris_async_router, start_link, [Shard]}}
            || Shard <- iris_async_router:shards()]
        ++ [#{id => iris_tcp_listener, start => {iris_edge_listener, start_link, [Port, iris_edge_conn]}},
            #{id => iris_ws_listener, start => {iris_edge_listener, start_link, [WsPort, iris_ws_lite]}}],
    {ok, {#{strategy => one_for_one, intensity => 10, period => 60}, Children}}.
