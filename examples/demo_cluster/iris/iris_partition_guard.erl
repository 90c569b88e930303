%% Watches whether more than half of the expected cores are in sight. With no expected nodes
%% configured it always finds a quorum, and on an edge, where it does not run, it says so in a way
%% that looks like good health. Both are the real system's habits.
-module(iris_partition_guard).
-behaviour(gen_server).

-export([start_link/0, get_status/0, is_safe_for_writes/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(CHECK_MS, 5000).
-define(QUORUM, 0.5).

-record(state, {mode = normal :: normal | safe_mode,
                visible_nodes = [] :: [node()],
                last_quorum_loss :: integer() | undefined,
                partition_count = 0 :: non_neg_integer()}).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

-spec get_status() -> map().
get_status() ->
    case whereis(?MODULE) of
        undefined -> #{mode => not_running, safe_for_writes => true};
        Pid -> gen_server:call(Pid, get_status, 1000)
    end.

-spec is_safe_for_writes() -> ok | {error, partition_detected}.
is_safe_for_writes() ->
    case get_status() of
        #{safe_for_writes := true} -> ok;
        #{safe_for_writes := false} -> {error, partition_detected}
    end.

-spec init([]) -> {ok, #state{}}.
init([]) ->
    schedule_check(),
    {ok, #state{visible_nodes = [node() | nodes()]}}.

-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}}.
handle_call(get_status, _From, State) ->
    {reply, #{mode => State#state.mode,
              safe_for_writes => State#state.mode =/= safe_mode,
              membership_mode => static,
              expected_nodes => expected_nodes(),
              visible_nodes => State#state.visible_nodes,
              partition_count => State#state.partition_count,
              last_quorum_loss => State#state.last_quorum_loss}, State};
handle_call(_Request, _From, State) ->
    {reply, {error, unknown_request}, State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Message, State) ->
    {noreply, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info(check, State) ->
    schedule_check(),
    Visible = lists:usort([node() | nodes()] ++ mnesia:system_info(running_db_nodes)),
    {noreply, judge(has_quorum(expected_nodes(), Visible), State#state{visible_nodes = Visible})};
handle_info(_Info, State) ->
    {noreply, State}.

judge(false, #state{mode = normal} = State) ->
    logger:error("quorum lost, in sight: ~p", [State#state.visible_nodes]),
    State#state{mode = safe_mode,
                last_quorum_loss = os:system_time(second),
                partition_count = State#state.partition_count + 1};
judge(true, #state{mode = safe_mode} = State) ->
    State#state{mode = normal};
judge(_Unchanged, State) ->
    State.

has_quorum([], _Visible) ->
    true;
has_quorum(Expected, Visible) ->
    length([Node || Node <- Expected, lists:member(Node, Visible)]) > length(Expected) * ?QUORUM.

expected_nodes() ->
    application:get_env(iris_core, expected_cluster_nodes, []).

schedule_check() ->
    erlang:send_after(?CHECK_MS, self(), check).
