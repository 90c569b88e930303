%% What would be lost or disturbed if this node ended now.
%%
%% Presence, Batcher, Statistic, Pending, Offline: names of the edge's table of connected users, of the module of a
%% core's write-ahead log, of the function there that gives its figures, and of the figure for rows that wait, and of the
%% table of stored messages. Mnesia, Holders: of that module, and of what a table knows of the nodes that have active
%% copies. Binaries, for they become no atoms here.
%%
%% Gives {Applications, Users, Waiting, Copies, Heart, OsPid, Uptime, Creation, Peers}: connected users, or undefined; rows of
%% the write-ahead log that are not in the table yet, or undefined; the other nodes that have an active copy of the
%% stored messages, or undefined; whether heart would start the node again; milliseconds; what identity.erl says; the connected nodes.
Existing = fun(Name) -> try binary_to_existing_atom(Name) catch error:badarg -> undefined end end,
Statistics =
    case Existing(Batcher) of
        undefined -> #{};
        Module -> try apply(Module, Existing(Statistic), []) catch _:_ -> #{} end
    end,
{
    try application:which_applications() catch exit:{timeout, _} -> undefined end,
    case ets:info(Existing(Presence), size) of Size when is_integer(Size) -> Size; _ -> undefined end,
    case [Value || {Key, Value} <- maps:to_list(Statistics), atom_to_binary(Key) =:= Pending] of
        [Waiting] -> Waiting;
        [] -> undefined
    end,
    %% Asking would load it.
    case erlang:module_loaded(Existing(Mnesia)) of
        true ->
            Copies = fun() -> apply(Existing(Mnesia), table_info, [Existing(Offline), Existing(Holders)]) end,
            try Copies() -- [node()] catch _:_ -> undefined end;
        false -> undefined
    end,
    whereis(heart) =/= undefined,
    os:getpid(),
    erlang:convert_time_unit(erlang:monotonic_time() - erlang:system_info(start_time), native, millisecond),
    erlang:system_info(creation),
    nodes(connected) -- [node(group_leader())]
}
