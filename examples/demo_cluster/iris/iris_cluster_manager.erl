%% Counts nodes that come and go, and five seconds after a visible node whose name begins with core
%% or iris_core has come, tries to give it a copy of the tables. This is why an operator's tool must
%% not join under such a name.
-module(iris_cluster_manager).
-behaviour(gen_server).

-export([start_link/0, get_status/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(STABILITY_MS, 5000).
-define(RPC_MS, 5000).

-record(state, {pending = [] :: [node()],
                last_replication :: integer() | undefined,
                stats :: #{atom() => non_neg_integer()}}).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

-spec get_status() -> map().
get_status() ->
    gen_server:call(?MODULE, get_status).

-spec init([]) -> {ok, #state{}}.
init([]) ->
    ok = net_kernel:monitor_nodes(true, [nodedown_reason]),
    {ok, #state{stats = maps:from_keys([nodeup_events, nodedown_events, replication_triggers,
                                        replication_successes, replication_failures], 0)}}.

-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}}.
handle_call(get_status, _From, State) ->
    {reply, #{enabled => true,
              pending_nodes => State#state.pending,
              last_replication => State#state.last_replication,
              stats => State#state.stats}, State};
handle_call(_Request, _From, State) ->
    {reply, {error, unknown_request}, State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Message, State) ->
    {noreply, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info({nodeup, Node, _Info}, State) ->
    Counted = count(nodeup_events, State),
    case is_named_like_a_core(Node) of
        true ->
            erlang:send_after(?STABILITY_MS, self(), {replicate, Node}),
            {noreply, Counted#state{pending = lists:usort([Node | State#state.pending])}};
        false ->
            {noreply, Counted}
    end;
handle_info({nodedown, Node, _Info}, State) ->
    Counted = count(nodedown_events, State),
    {noreply, Counted#state{pending = lists:delete(Node, State#state.pending)}};
handle_info({replicate, Node}, State) ->
    case lists:member(Node, State#state.pending) of
        true ->
            Triggered = count(replication_triggers, State#state{pending = lists:delete(Node, State#state.pending)}),
            case replicate(Node) of
                ok ->
                    {noreply, (count(replication_successes, Triggered))#state{
                                last_replication = erlang:system_time(second)}};
                {error, Reason} ->
                    logger:warning("no replication to ~p: ~p", [Node, Reason]),
                    {noreply, count(replication_failures, Triggered)}
            end;
        false ->
            {noreply, State}
    end;
handle_info(_Info, State) ->
    {noreply, State}.

%% Cores copy the tables themselves when they start; what is left to do here is to see that they did.
replicate(Node) ->
    case rpc:call(Node, mnesia, system_info, [is_running], ?RPC_MS) of
        yes ->
            case lists:member(Node, mnesia:table_info(offline_msg, disc_copies)) of
                true -> ok;
                false -> {error, has_no_copy_of_offline_msg}
            end;
        Other ->
            {error, {mnesia_is_not_running, Other}}
    end.

is_named_like_a_core(Node) ->
    Name = atom_to_list(Node),
    lists:prefix("core", Name) orelse lists:prefix("iris_core", Name).

count(What, #state{stats = Stats} = State) ->
    State#state{stats = maps:update_with(What, fun(N) -> N + 1 end, Stats)}.
