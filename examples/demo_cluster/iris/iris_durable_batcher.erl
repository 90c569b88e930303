%% Write-ahead log in front of offline_msg.
%%
%% A message is acknowledged to its sender as soon as it is in this node's disk_log; rows wait there,
%% invisible in Mnesia, until the next flush (every 500 ms). Eight shards, chosen by the user.
%%
%% In durability mode cluster every entry is also written to the log of one other node. As in the real
%% system that node is any connected one, hidden ones included, for which
%% rpc:call(Node, erlang, whereis, [iris_durable_batcher_1]) is anything but undefined.
-module(iris_durable_batcher).
-behaviour(gen_server).

-export([start_link/1, shards/0, name/1]).
-export([store/3, force_flush/0, get_stats/0, get_durability_mode/0, get_secondary_node/0]).
-export([accept_remote_wal/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-define(SHARD_COUNT, 8).
-define(CALL_MS, 30000).
-define(RPC_MS, 3000).

-record(state, {shard :: pos_integer(),
                log :: disk_log:log(),
                log_is_empty = true :: boolean(),
                pending = [] :: [tuple()],
                writes_wal = 0 :: non_neg_integer(),
                writes_mnesia = 0 :: non_neg_integer(),
                writes_remote = 0 :: non_neg_integer(),
                remote_failures = 0 :: non_neg_integer(),
                batch_count = 0 :: non_neg_integer()}).

%% API

-spec start_link(pos_integer()) -> {ok, pid()} | {error, term()}.
start_link(Shard) ->
    gen_server:start_link({local, name(Shard)}, ?MODULE, Shard, []).

-spec shards() -> [pos_integer()].
shards() ->
    lists:seq(1, ?SHARD_COUNT).

-spec name(pos_integer()) -> atom().
name(Shard) ->
    list_to_atom("iris_durable_batcher_" ++ integer_to_list(Shard)).

%% ok means: in the log and safe from a crash, not yet in Mnesia.
-spec store(binary(), binary(), pos_integer()) -> ok | {error, term()}.
store(User, Msg, BucketCount) ->
    gen_server:call(name(shard_of(User)), {store, User, Msg, BucketCount}, ?CALL_MS).

%% Afterwards every row that was acknowledged before the call is in Mnesia.
-spec force_flush() -> ok.
force_flush() ->
    lists:foreach(fun(Shard) -> ok = gen_server:call(name(Shard), force_flush, ?CALL_MS) end, shards()).

%% On a node without batchers (an edge) all figures are zero; they say nothing there.
-spec get_stats() -> #{atom() => non_neg_integer()}.
get_stats() ->
    lists:foldl(fun(Shard, Sum) -> maps:map(fun(Key, Value) -> Value + maps:get(Key, Sum) end, shard_stats(Shard)) end,
                no_stats(), shards()).

-spec get_durability_mode() -> local | cluster.
get_durability_mode() ->
    application:get_env(iris_core, durability_mode, local).

-spec get_secondary_node() -> node() | undefined.
get_secondary_node() ->
    Holders = [Node || Node <- nodes(connected), rpc:call(Node, erlang, whereis, [name(1)], ?RPC_MS) =/= undefined],
    case Holders of
        [Node | _] -> Node;
        [] -> undefined
    end.

%% Called over RPC by another core in durability mode cluster.
-spec accept_remote_wal(tuple()) -> ok | {error, term()}.
accept_remote_wal(Row) ->
    gen_server:call(name(shard_of(user(Row))), {accept_remote_wal, Row}, ?RPC_MS).

%% gen_server callbacks

-spec init(pos_integer()) -> {ok, #state{}}.
init(Shard) ->
    process_flag(trap_exit, true),
    Log = open_log(Shard),
    %% What a crash left in the log goes to Mnesia first. Writing a row twice is harmless in a bag.
    ok = write_rows(logged_rows(Log, start, [])),
    ok = mnesia:sync_log(),
    ok = disk_log:truncate(Log),
    schedule_flush(),
    {ok, #state{shard = Shard, log = Log}}.

-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}}.
handle_call({store, User, Msg, BucketCount}, _From, State) ->
    Row = {offline_msg, iris_offline_storage:key(User, Msg, BucketCount), os:system_time(millisecond), Msg},
    case write_log(State#state.log, Row) of
        ok ->
            Logged = replicate(get_durability_mode(), Row, State),
            {reply, ok, Logged#state{log_is_empty = false,
                                     pending = [Row | State#state.pending],
                                     writes_wal = State#state.writes_wal + 1}};
        {error, _} = Error ->
            {reply, Error, State}
    end;
handle_call({accept_remote_wal, Row}, _From, State) ->
    {reply, write_log(State#state.log, Row), State#state{log_is_empty = false}};
handle_call(force_flush, _From, State) ->
    {reply, ok, flush(State)};
handle_call(get_stats, _From, State) ->
    {reply, #{total_pending => length(State#state.pending),
              writes_wal => State#state.writes_wal,
              writes_mnesia => State#state.writes_mnesia,
              writes_remote => State#state.writes_remote,
              remote_failures => State#state.remote_failures,
              batch_count => State#state.batch_count}, State};
handle_call(_Request, _From, State) ->
    {reply, {error, unknown_request}, State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Message, State) ->
    {noreply, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info(flush, State) ->
    schedule_flush(),
    {noreply, flush(State)};
handle_info(_Info, State) ->
    {noreply, State}.

-spec terminate(term(), #state{}) -> ok | {error, term()}.
terminate(_Reason, State) ->
    _ = flush(State),
    disk_log:close(State#state.log).

%% The log

open_log(Shard) ->
    Directory = filename:join(mnesia:system_info(directory), "wal"),
    ok = filelib:ensure_path(Directory),
    Name = list_to_atom("iris_wal_" ++ integer_to_list(Shard)),
    File = filename:join(Directory, "shard_" ++ integer_to_list(Shard) ++ ".wal"),
    case disk_log:open([{name, Name}, {file, File}, {type, halt}, {format, internal}]) of
        {ok, Log} -> Log;
        {repaired, Log, _Recovered, _Bad} -> Log
    end.

logged_rows(Log, Position, Rows) ->
    case disk_log:chunk(Log, Position) of
        eof -> lists:append(lists:reverse(Rows));
        {Next, More} -> logged_rows(Log, Next, [More | Rows]);
        {Next, More, _BadBytes} -> logged_rows(Log, Next, [More | Rows])
    end.

write_log(Log, Row) ->
    case disk_log:log(Log, Row) of
        ok -> disk_log:sync(Log);
        {error, _} = Error -> Error
    end.

replicate(local, _Row, State) ->
    State;
replicate(cluster, Row, State) ->
    case get_secondary_node() of
        undefined ->
            State#state{remote_failures = State#state.remote_failures + 1};
        Node ->
            case rpc:call(Node, ?MODULE, accept_remote_wal, [Row], ?RPC_MS) of
                ok ->
                    State#state{writes_remote = State#state.writes_remote + 1};
                Failure ->
                    logger:warning("no second copy of a log entry on ~p: ~p", [Node, Failure]),
                    State#state{remote_failures = State#state.remote_failures + 1}
            end
    end.

flush(#state{pending = [], log_is_empty = true} = State) ->
    State;
flush(#state{pending = Pending} = State) ->
    ok = write_rows(lists:reverse(Pending)),
    %% Mnesia keeps the last two seconds of its own log in memory; ours must not go before they are on disk.
    ok = mnesia:sync_log(),
    ok = disk_log:truncate(State#state.log),
    State#state{pending = [],
                log_is_empty = true,
                writes_mnesia = State#state.writes_mnesia + length(Pending),
                batch_count = State#state.batch_count + 1}.

write_rows([]) ->
    ok;
write_rows(Rows) ->
    mnesia:activity(sync_transaction, fun() -> lists:foreach(fun(Row) -> ok = mnesia:write(Row) end, Rows) end).

schedule_flush() ->
    erlang:send_after(application:get_env(iris_core, flush_interval_ms, 500), self(), flush).

%% Helpers

shard_of(User) ->
    erlang:phash2(User, ?SHARD_COUNT) + 1.

user({offline_msg, {User, _Bucket}, _, _}) -> User;
user({offline_msg, User, _, _}) -> User.

no_stats() ->
    maps:from_keys([total_pending, writes_wal, writes_mnesia, writes_remote, remote_failures, batch_count], 0).

shard_stats(Shard) ->
    try gen_server:call(name(Shard), get_stats, 1000)
    catch exit:_ -> no_stats()
    end.
