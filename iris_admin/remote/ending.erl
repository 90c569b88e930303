%% What would be lost or disturbed if this node ended now.
%%
%% Presence, Batcher, Offline: names of the edge's table of connected users, of the module of a core's write-ahead log,
%% and of the table of stored messages; binaries, for they become no atoms here.
%%
%% Gives {Applications, Users, Waiting, Copies, Heart, OsPid, Uptime, Creation, Peers}: connected users, or undefined; rows of
%% the write-ahead log that are not in the table yet, or undefined; the other nodes that have an active copy of the
%% stored messages, or undefined; whether heart would start the node again; milliseconds; what identity.erl says; the connected nodes.
Existing = fun(Name) -> try binary_to_existing_atom(Name) catch error:badarg -> undefined end end,
Statistics =
    case Existing(Batcher) of
        undefined -> #{};
        Module -> try apply(Module, Existing(<<"get_stats">>), []) catch _:_ -> #{} end
    end,
{
    try application:which_applications() catch exit:{timeout, _} -> undefined end,
    case ets:info(Existing(Presence), size) of Size when is_integer(Size) -> Size; _ -> undefined end,
    case lists:keyfind(<<"total_pending">>, 1, [{atom_to_binary(Key), Value} || {Key, Value} <- maps:to_list(Statistics)]) of
        {_, Pending} -> Pending;
        false -> undefined
    end,
    try mnesia:table_info(Existing(Offline), where_to_write) -- [node()] catch _:_ -> undefined end,
    whereis(heart) =/= undefined,
    os:getpid(),
    erlang:convert_time_unit(erlang:monotonic_time() - erlang:system_info(start_time), native, millisecond),
    erlang:system_info(creation),
    nodes(connected) -- [node(group_leader())]
}
