%% The connections of a user on this edge, by the table that the delivery of messages goes by. Nothing is changed.
%%
%% User: the user. Pids: processes of this node to be described, too.
%%
%% Gives {Connections, Described}, each a list of {Pid, IsAlive, InitialCall}; Connections is undefined where the
%% node has no such table. InitialCall is {Module, Function, Arity} (proc_lib:init_p/5 for what is not known).
Describe = fun(Pid) ->
    %% A process of an earlier life of this node is not local, and gone.
    IsAlive = try is_process_alive(Pid) catch error:badarg -> false end,
    {Pid, IsAlive, case IsAlive of true -> proc_lib:translate_initial_call(Pid); false -> undefined end}
end,
{
    case ets:whereis(local_presence_v2) of
        undefined -> undefined;
        _ -> [Describe(element(2, Row)) || Row <- ets:lookup(local_presence_v2, User)]
    end,
    lists:map(Describe, Pids)
}
