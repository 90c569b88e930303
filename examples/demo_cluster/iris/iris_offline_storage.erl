%% Messages for users who are not there, in the Mnesia bag offline_msg.
%%
%% The row is {offline_msg, Key, TimestampMs, Payload}. Key is {User, Bucket} or, with
%% offline_schema = bare, the user alone. Payload is a binary, or a list of binaries (a batch).
%%
%% redeliver/1 exists only in a build with -DREDELIVER, because deployments differ: some export it,
%% some do not, and an operator's tool has to cope with both.
-module(iris_offline_storage).

-export([store/3, store_batch/3, retrieve/2, retrieve_lockfree/2, delete_confirmed/4]).
-export([key/3]).

-ifdef(REDELIVER).
-export([redeliver/1]).
-endif.

-spec store(binary(), binary(), pos_integer()) -> ok | {error, term()}.
store(User, Msg, BucketCount) ->
    iris_durable_batcher:store(User, Msg, BucketCount).

%% One row for each bucket, whose payload is a list.
-spec store_batch(binary(), [binary()], pos_integer()) -> ok.
store_batch(User, Msgs, BucketCount) ->
    Now = os:system_time(millisecond),
    Buckets = lists:foldl(fun(Msg, Acc) -> orddict:append(key(User, Msg, BucketCount), Msg, Acc) end,
                          orddict:new(), Msgs),
    mnesia:activity(sync_transaction,
                    fun() ->
                            lists:foreach(fun({Key, Batch}) -> mnesia:write({offline_msg, Key, Now, Batch}) end,
                                          orddict:to_list(Buckets))
                    end).

%% Read and remove. Whoever calls this is the only holder of the messages from then on.
-spec retrieve(binary(), pos_integer()) -> [binary()].
retrieve(User, BucketCount) ->
    TakeBucket = fun(Key) ->
                         Rows = mnesia:read(offline_msg, Key, write),
                         ok = mnesia:delete({offline_msg, Key}),
                         Rows
                 end,
    payloads(mnesia:activity(transaction, fun() -> lists:flatmap(TakeBucket, keys(User, BucketCount)) end)).

%% Read without a lock and remove nothing.
-spec retrieve_lockfree(binary(), pos_integer()) -> [binary()].
retrieve_lockfree(User, BucketCount) ->
    payloads(rows(User, BucketCount)).

%% Remove whole buckets, whatever has arrived in them since they were read, and tell nobody how it went.
-spec delete_confirmed(binary(), pos_integer(), non_neg_integer(), non_neg_integer()) -> ok.
delete_confirmed(User, _BucketCount, From, To) ->
    _ = spawn(fun() ->
                      [ok = mnesia:dirty_delete(offline_msg, {User, Bucket}) || Bucket <- lists:seq(From, To - 1)]
              end),
    ok.

%% The key under which a message is stored.
-spec key(binary(), binary(), pos_integer()) -> {binary(), non_neg_integer()} | binary().
key(User, Msg, BucketCount) ->
    case schema() of
        bucketed -> {User, erlang:phash2(Msg, BucketCount)};
        bare -> User
    end.

keys(User, BucketCount) ->
    case schema() of
        bucketed -> [{User, Bucket} || Bucket <- lists:seq(0, BucketCount - 1)];
        bare -> [User]
    end.

schema() ->
    application:get_env(iris_core, offline_schema, bucketed).

rows(User, BucketCount) ->
    lists:flatmap(fun(Key) -> mnesia:dirty_read(offline_msg, Key) end, keys(User, BucketCount)).

payloads(Rows) ->
    lists:flatten([Payload || {offline_msg, _Key, _Timestamp, Payload} <- lists:keysort(3, Rows)]).

-ifdef(REDELIVER).
-define(POLL_MS, 5).
%% Decide well before the connection gives up on an acknowledgement and stores the message again.
-define(DECIDE_WITHIN, 0.6).

%% Send a user's stored messages to their connection, oldest first, and remove each row when the
%% client has acknowledged all of it. Stops at the first message that is not acknowledged.
%%   {ok, N}                       N messages were acknowledged and are no longer stored
%%   {error, offline}              no edge has a connection of that user; nothing was changed
%%   {error, no_acknowledgement}   a WebSocket connection never acknowledges; nothing was changed
-spec redeliver(binary()) -> {ok, non_neg_integer()} | {error, offline | no_acknowledgement}.
redeliver(User) ->
    ok = iris_durable_batcher:force_flush(),
    case find_connection(User) of
        {ok, Edge, Pid} ->
            Timeout = rpc:call(Edge, application, get_env, [iris_edge, ack_timeout_ms, 10000]),
            Rows = lists:keysort(3, rows(User, iris_core:get_bucket_count(User))),
            {ok, redeliver_rows(Rows, Pid, round(Timeout * ?DECIDE_WITHIN), 0)};
        {error, Reason} ->
            {error, Reason}
    end.

find_connection(User) ->
    Found = [{Edge, Pid} || Edge <- [node() | nodes(connected)],
                            {_, Pid} <- local_presence(Edge, User),
                            rpc:call(node(Pid), erlang, is_process_alive, [Pid]) =:= true],
    case Found of
        [] ->
            {error, offline};
        [{Edge, Pid} | _] ->
            case rpc:call(Edge, proc_lib, translate_initial_call, [Pid]) of
                {iris_edge_conn, init, 1} -> {ok, Edge, Pid};
                _WebSocket -> {error, no_acknowledgement}
            end
    end.

local_presence(Edge, User) ->
    case rpc:call(Edge, ets, lookup, [local_presence_v2, User]) of
        Rows when is_list(Rows) -> Rows;
        {badrpc, _NoEdge} -> []
    end.

redeliver_rows([], _Pid, _Patience, Count) ->
    Count;
redeliver_rows([{offline_msg, _, _, Payload} = Row | Rows], Pid, Patience, Count) ->
    Msgs = lists:flatten([Payload]),
    case lists:all(fun(Msg) -> is_binary(Msg) andalso acknowledged(Pid, Msg, Patience) end, Msgs) of
        true ->
            ok = mnesia:activity(sync_transaction, fun() -> mnesia:delete_object(Row) end),
            redeliver_rows(Rows, Pid, Patience, Count + length(Msgs));
        false ->
            Count
    end.

acknowledged(Pid, Msg, Patience) ->
    case pending(Pid) of
        {ok, Before} ->
            Pid ! {deliver_msg, Msg},
            await_acknowledgement(Pid, Msg, Before, erlang:monotonic_time(millisecond) + Patience);
        gone ->
            false
    end.

await_acknowledgement(Pid, Msg, Before, Deadline) ->
    case pending(Pid) of
        gone ->
            false;
        {ok, Now} ->
            case [Id || {Id, {Sent, _, _}} <- maps:to_list(maps:without(maps:keys(Before), Now)), Sent =:= Msg] of
                [] ->
                    true;
                _Waiting ->
                    timer:sleep(?POLL_MS),
                    erlang:monotonic_time(millisecond) < Deadline
                        andalso await_acknowledgement(Pid, Msg, Before, Deadline)
            end
    end.

pending(Pid) ->
    try sys:get_state(Pid, 5000) of
        {_State, Data} -> {ok, element(6, Data)}
    catch
        exit:_ -> gone
    end.
-endif.
