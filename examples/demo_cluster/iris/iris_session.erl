%% What a client's packets mean, whatever they travelled on.
-module(iris_session).

-export([handle_packet/4, terminate/1]).

-define(RPC_MS, 5000).
-define(STATUS_CACHE_SECONDS, 5).
%% In words. Rather lose one connection than the node: a huge backlog at log-in is such a case.
-define(MAX_HEAP, 100000).

-type action() :: {send, binary()} | {ack_received, binary()}.

-spec handle_packet(term(), binary() | undefined, pid(), module()) -> {ok, binary() | undefined, [action()]}.
handle_packet({login, LoginData}, _User, Pid, _Transport) ->
    %% Authentication is off in this demo, so a token behind the colon is not looked at.
    [User | _Token] = binary:split(LoginData, <<":">>),
    process_flag(max_heap_size, #{size => ?MAX_HEAP, kill => true}),
    true = ets:insert(local_presence_v2, {User, Pid}),
    Core = core(),
    _ = spawn(fun() -> rpc:call(Core, iris_core, register_user, [User, node(), Pid], ?RPC_MS) end),
    {ok, User, [{send, <<3, "LOGIN_OK">>} | take_offline_messages(Core, User)]};
handle_packet({ack, MsgId}, User, _Pid, _Transport) ->
    {ok, User, [{ack_received, MsgId}]};
handle_packet(_Packet, undefined, _Pid, _Transport) ->
    {ok, undefined, []};
handle_packet({send_message, Target, Msg}, User, _Pid, _Transport) ->
    ok = iris_router:route(Target, Msg),
    {ok, User, []};
handle_packet({get_status, Target}, User, _Pid, _Transport) ->
    {State, LastSeen} = status(Target),
    {ok, User, [{send, iris_proto:encode_status(Target, State, LastSeen)}]};
handle_packet({error, _Reason}, User, _Pid, _Transport) ->
    {ok, User, []}.

%% Only the process that is registered takes the entry away: the user may have come back on another
%% connection in the meantime.
-spec terminate(binary() | undefined) -> ok.
terminate(undefined) ->
    ok;
terminate(User) ->
    case ets:lookup(local_presence_v2, User) of
        [{User, Pid}] when Pid =:= self() ->
            true = ets:delete(local_presence_v2, User),
            true = rpc:cast(core(), iris_core, update_status, [User, offline]),
            ok;
        _ ->
            ok
    end.

%% The messages leave the store here and their acknowledgement is not tracked: a connection that
%% breaks now loses them. This is the real system's way, and one of the things an operator must know.
take_offline_messages(Core, User) ->
    case rpc:call(Core, iris_core, retrieve_offline, [User], ?RPC_MS) of
        Msgs when is_list(Msgs) ->
            [{send, iris_proto:encode_reliable_msg(iris_proto:generate_msg_id(), Msg)} || Msg <- Msgs];
        {badrpc, Reason} ->
            logger:warning("no offline messages for a log-in: ~p", [Reason]),
            []
    end.

status(User) ->
    Now = os:system_time(second),
    case ets:lookup(presence_cache, User) of
        [{User, State, LastSeen, Asked}] when Now - Asked < ?STATUS_CACHE_SECONDS ->
            {State, LastSeen};
        _ ->
            {State, LastSeen} =
                case rpc:call(core(), iris_core, get_status, [User], 1000) of
                    {online, true, _} -> {online, 0};
                    {online, false, Seen} -> {offline, Seen};
                    {badrpc, _} -> {offline, 0}
                end,
            true = ets:insert(presence_cache, {User, State, LastSeen, Now}),
            {State, LastSeen}
    end.

core() ->
    case iris_core_registry:get_core() of
        {ok, Core} -> Core;
        {error, no_cores_available} -> node()
    end.
