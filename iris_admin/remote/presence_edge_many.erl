%% As presence_edge.erl, for many users.
%%
%% Users: the users. Pids: processes of this node to be described, too.
%%
%% Gives {ConnectionsOfEachUser, Described}; the first is undefined where the node has no such table.
Describe = fun(Pid) ->
    IsAlive = try is_process_alive(Pid) catch error:badarg -> false end,
    {Pid, IsAlive, case IsAlive of true -> proc_lib:translate_initial_call(Pid); false -> undefined end}
end,
{
    case ets:whereis(local_presence_v2) of
        undefined -> undefined;
        _ -> [[Describe(element(2, Row)) || Row <- ets:lookup(local_presence_v2, User)] || User <- Users]
    end,
    lists:map(Describe, Pids)
}
