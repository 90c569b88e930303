%% Routes messages: first to a connection on this edge, then to where a core says that the user is, and
%% if nobody knows the user, into the offline store. Sharded by user, so that one user's messages on
%% this edge keep their order.
-module(iris_async_router).
-behaviour(gen_server).

-export([start_link/1, shards/0, name/1, route/2, get_local_count/0, get_stats/0]).
-export([init/1, handle_call/3, handle_cast/2]).

-define(PRESENCE, local_presence_v2).

-record(state, {started :: integer(),
                counts = maps:from_keys([routed_local, routed_remote, routed_offline, route_failures], 0) ::
                  #{atom() => non_neg_integer()}}).

-spec start_link(pos_integer()) -> {ok, pid()} | {error, term()}.
start_link(Shard) ->
    gen_server:start_link({local, name(Shard)}, ?MODULE, [], []).

-spec shards() -> [pos_integer()].
shards() ->
    lists:seq(1, application:get_env(iris_edge, router_pool_size, 4)).

-spec name(pos_integer()) -> atom().
name(Shard) ->
    list_to_atom("iris_async_router_" ++ integer_to_list(Shard)).

-spec route(binary(), binary()) -> ok.
route(User, Msg) ->
    gen_server:cast(name(erlang:phash2(User, length(shards())) + 1), {route, User, Msg}).

-spec get_local_count() -> non_neg_integer().
get_local_count() ->
    ets:info(?PRESENCE, size).

-spec get_stats() -> #{atom() => non_neg_integer()}.
get_stats() ->
    Shards = [gen_server:call(name(Shard), get_stats, 1000) || Shard <- shards()],
    Sum = fun(Key) -> lists:sum([maps:get(Key, Counts) || {Counts, _} <- Shards]) end,
    Success = Sum(routed_local) + Sum(routed_remote),
    #{local_users => get_local_count(),
      routed_local => Sum(routed_local),
      routed_remote => Sum(routed_remote),
      routed_offline => Sum(routed_offline),
      route_failures => Sum(route_failures),
      uptime_seconds => os:system_time(second) - lists:min([Started || {_, Started} <- Shards]),
      total_route_attempts => Success + Sum(routed_offline) + Sum(route_failures),
      total_route_success => Success,
      total_route_offline => Sum(routed_offline),
      total_route_failures => Sum(route_failures)}.

-spec init([]) -> {ok, #state{}}.
init([]) ->
    {ok, #state{started = os:system_time(second)}}.

-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}}.
handle_call(get_stats, _From, #state{started = Started, counts = Counts} = State) ->
    {reply, {Counts, Started}, State};
handle_call(_Request, _From, State) ->
    {reply, ok, State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast({route, User, Msg}, State) ->
    case local_connection(User) of
        {ok, Pid} ->
            Pid ! {deliver_msg, Msg},
            {noreply, count(routed_local, State)};
        none ->
            %% In a process of its own: a slow core must not hold up the shard's other users.
            Self = self(),
            _ = spawn(fun() -> gen_server:cast(Self, {routed, route_remotely(User, Msg)}) end),
            {noreply, State}
    end;
handle_cast({routed, Outcome}, State) ->
    {noreply, count(Outcome, State)};
handle_cast(_Message, State) ->
    {noreply, State}.

local_connection(User) ->
    case ets:lookup(?PRESENCE, User) of
        [{User, Pid}] ->
            case is_process_alive(Pid) of
                true ->
                    {ok, Pid};
                false ->
                    true = ets:delete(?PRESENCE, User),
                    none
            end;
        [] ->
            none
    end.

%% As in the real system, an edge that sees no process group (a hidden one) asks itself and every node that
%% it is connected to, whatever it is; what cannot answer counts as not knowing the user. So the circuit
%% breaker of a healthy hidden edge reports that edge itself as failing.
route_remotely(User, Msg) ->
    Nodes = case iris_core_registry:get_registered_cores() of
                [] -> [node() | nodes(connected)];
                Cores -> Cores
            end,
    case find_connection(Nodes, User) of
        {ok, Pid} ->
            Pid ! {deliver_msg, Msg},
            routed_remote;
        none ->
            store_offline(Nodes, User, Msg)
    end.

find_connection([], _User) ->
    none;
find_connection([Node | Rest], User) ->
    case rpc:call(Node, iris_core, lookup_user, [User], 2000) of
        {ok, _Edge, Pid} when is_pid(Pid) -> {ok, Pid};
        _NotThere -> find_connection(Rest, User)
    end.

store_offline([], User, _Msg) ->
    logger:error("a message for ~ts is lost: no core takes it", [User]),
    route_failures;
store_offline([Node | Rest], User, Msg) ->
    case iris_circuit_breaker:call(Node, iris_core, store_offline_durable, [User, Msg]) of
        ok -> routed_offline;
        _Failure -> store_offline(Rest, User, Msg)
    end.

count(What, #state{counts = Counts} = State) ->
    State#state{counts = maps:update_with(What, fun(N) -> N + 1 end, Counts)}.
