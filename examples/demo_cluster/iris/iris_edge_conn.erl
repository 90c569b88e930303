%% One TCP client. Holds every message that it has sent until the client acknowledges it; one that is
%% not acknowledged in time, or is still held when the connection ends, is stored offline again.
-module(iris_edge_conn).
-behaviour(gen_statem).

-export([start_link/1, set_socket/2]).
-export([init/1, callback_mode/0, terminate/3]).
-export([wait_for_socket/3, connected/3]).

-define(MAX_PENDING_ACKS, 1000).
-define(MAX_BUFFER, 65536).
-define(MAX_CHECK_MS, 5000).
-define(HIBERNATE_AFTER_MS, 30000).
-define(STORE_RETRIES, 3).
-define(STORE_MS, 2000).

%% Operators look into this record with sys:get_state/1, so the order of its fields is an interface.
-record(data, {socket :: gen_tcp:socket() | undefined,
               user :: binary() | undefined,
               buffer = <<>> :: binary(),
               timeouts = 0 :: non_neg_integer(),
               %% MsgId => {Msg, SecondsSent, Retries}
               pending_acks = #{} :: #{binary() => {binary(), integer(), non_neg_integer()}},
               retry_timer :: reference() | undefined,
               last_activity = 0 :: integer(),
               hibernated = false :: boolean()}).

-spec start_link(gen_tcp:socket()) -> {ok, pid()} | {error, term()}.
start_link(Socket) ->
    gen_statem:start_link(?MODULE, Socket, []).

-spec set_socket(pid(), gen_tcp:socket()) -> ok.
set_socket(Pid, Socket) ->
    gen_statem:cast(Pid, {socket_ready, Socket}).

-spec callback_mode() -> gen_statem:callback_mode_result().
callback_mode() ->
    state_functions.

-spec init(gen_tcp:socket()) -> gen_statem:init_result(wait_for_socket).
init(_Socket) ->
    {ok, wait_for_socket, #data{retry_timer = schedule_check(), last_activity = now_ms()}}.

-spec wait_for_socket(gen_statem:event_type(), term(), #data{}) -> gen_statem:event_handler_result(atom()).
wait_for_socket(cast, {socket_ready, Socket}, Data) ->
    %% A client that has gone already is reported as tcp_closed.
    _ = inet:setopts(Socket, [{active, once}, {send_timeout, 2000}]),
    {next_state, connected, Data#data{socket = Socket}};
wait_for_socket(_Type, _Event, _Data) ->
    {keep_state_and_data, postpone}.

-spec connected(gen_statem:event_type(), term(), #data{}) -> gen_statem:event_handler_result(atom()).
connected(info, {tcp, _Socket, Bytes}, #data{buffer = Buffer} = Data)
  when byte_size(Buffer) + byte_size(Bytes) > ?MAX_BUFFER ->
    {stop, buffer_overflow, Data};
connected(info, {tcp, _Socket, Bytes}, #data{buffer = Buffer} = Data) ->
    handle_packets(<<Buffer/binary, Bytes/binary>>, Data#data{last_activity = now_ms(), hibernated = false});
connected(info, {tcp_closed, _Socket}, Data) ->
    {stop, normal, Data};
connected(info, {tcp_error, _Socket, _Reason}, Data) ->
    {stop, normal, Data};
connected(info, {deliver_msg, Msg}, Data) ->
    {keep_state, deliver(Msg, evict_oldest(Data#data{last_activity = now_ms()}))};
connected(info, check_acks, Data) ->
    Checked = (give_up_on_late_ones(Data))#data{retry_timer = schedule_check()},
    Idle = now_ms() - Checked#data.last_activity > ?HIBERNATE_AFTER_MS andalso Checked#data.pending_acks =:= #{},
    case Idle andalso not Checked#data.hibernated of
        true -> {keep_state, Checked#data{hibernated = true}, [hibernate]};
        false -> {keep_state, Checked}
    end;
connected(_Type, _Event, _Data) ->
    keep_state_and_data.

-spec terminate(term(), atom(), #data{}) -> ok.
terminate(_Reason, _State, #data{user = undefined}) ->
    ok;
terminate(_Reason, _State, #data{user = User, pending_acks = Pending}) ->
    Unacknowledged = [Msg || {Msg, _, _} <- lists:keysort(2, maps:values(Pending))],
    store_all(User, Unacknowledged ++ queued_messages(), ?STORE_RETRIES),
    iris_session:terminate(User).

%% Packets from the client

handle_packets(Bytes, #data{socket = Socket, user = User} = Data) ->
    case iris_proto:decode(Bytes) of
        {more, Rest} ->
            _ = inet:setopts(Socket, [{active, once}]),
            {keep_state, Data#data{buffer = Rest}};
        {Packet, Rest} ->
            {ok, NewUser, Actions} = iris_session:handle_packet(Packet, User, self(), ?MODULE),
            handle_packets(Rest, lists:foldl(fun act/2, Data#data{user = NewUser}, Actions))
    end.

act({send, Bytes}, #data{socket = Socket} = Data) ->
    _ = gen_tcp:send(Socket, Bytes),
    Data;
act({ack_received, MsgId}, #data{pending_acks = Pending} = Data) ->
    Data#data{pending_acks = maps:remove(MsgId, Pending)}.

%% Messages to the client

deliver(Msg, #data{socket = Socket, user = User, pending_acks = Pending} = Data) ->
    MsgId = iris_proto:generate_msg_id(),
    case gen_tcp:send(Socket, iris_proto:encode_reliable_msg(MsgId, Msg)) of
        ok ->
            Data#data{pending_acks = Pending#{MsgId => {Msg, os:system_time(second), 0}}, timeouts = 0};
        {error, _Reason} ->
            store(User, Msg),
            Data
    end.

%% A full window makes room for new messages by putting the oldest tenth back into the store.
evict_oldest(#data{pending_acks = Pending} = Data) when map_size(Pending) < ?MAX_PENDING_ACKS ->
    Data;
evict_oldest(#data{user = User, pending_acks = Pending} = Data) ->
    ByAge = lists:sort(fun({_, {_, A, _}}, {_, {_, B, _}}) -> A =< B end, maps:to_list(Pending)),
    {Oldest, Younger} = lists:split(max(1, length(ByAge) div 10), ByAge),
    lists:foreach(fun({_MsgId, {Msg, _, _}}) -> store(User, Msg) end, Oldest),
    Data#data{pending_acks = maps:from_list(Younger)}.

give_up_on_late_ones(#data{user = User, pending_acks = Pending} = Data) ->
    Now = os:system_time(second),
    Timeout = ack_timeout_ms(),
    {Late, InTime} = lists:partition(fun({_MsgId, {_, Sent, _}}) -> (Now - Sent) * 1000 > Timeout end,
                                     maps:to_list(Pending)),
    lists:foreach(fun({_MsgId, {Msg, _, _}}) -> store(User, Msg) end, Late),
    Data#data{pending_acks = maps:from_list(InTime)}.

%% Storing again

%% Nobody looks at the answer, as in the real system: with no core in reach the message is lost.
store(User, Msg) ->
    Core = core(),
    case iris_circuit_breaker:call(Core, iris_core, store_offline_durable, [User, Msg]) of
        ok -> ok;
        Failure -> logger:error("a message could not be stored again on ~p: ~p", [Core, Failure])
    end.

store_all(_User, [], _Retries) ->
    ok;
store_all(User, Msgs, 0) ->
    logger:error("~b messages could not be stored again for ~ts", [length(Msgs), User]);
store_all(User, [Msg | Rest] = Msgs, Retries) ->
    case rpc:call(core(), iris_core, store_offline_durable, [User, Msg], ?STORE_MS) of
        ok ->
            store_all(User, Rest, ?STORE_RETRIES);
        _Failure ->
            timer:sleep(100 * (?STORE_RETRIES + 1 - Retries)),
            store_all(User, Msgs, Retries - 1)
    end.

queued_messages() ->
    receive {deliver_msg, Msg} -> [Msg | queued_messages()]
    after 0 -> []
    end.

core() ->
    case iris_core_registry:get_core() of
        {ok, Core} -> Core;
        {error, no_cores_available} -> node()
    end.

%% Helpers

schedule_check() ->
    erlang:send_after(min(?MAX_CHECK_MS, max(50, ack_timeout_ms() div 2)), self(), check_acks).

ack_timeout_ms() ->
    application:get_env(iris_edge, ack_timeout_ms, 10000).

now_ms() ->
    os:system_time(millisecond).
