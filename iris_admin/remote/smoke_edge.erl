%% What an edge knows of some users of our own: are they connected, and do they owe acknowledgements?
%%
%% Users: binaries. Presence: name of the table of connected users. Checker, IsEnabled: the module that checks tokens,
%% and its function that tells whether it does. Limiter: what counts messages. Remove: whether to take away what the edge
%% keeps of the users, Tables: names of the tables with the user as the key. Names are binaries, for they become no atoms
%% here. Wait: for the state of a connection's process, in milliseconds.
%%
%% Gives {Authentication, RateLimit, [{User, Pending}], Removed}: whether a log-in needs a token, or unknown;
%% whether messages are counted; for each user in the table, how many messages wait for an acknowledgement, or noproc,
%% or unknown; how many rows were removed.
Existing = fun(Name) -> try binary_to_existing_atom(Name) catch error:badarg -> undefined end end,
IsRunning = fun(Name) ->
    case Existing(Name) of
        undefined -> false;
        Registered -> whereis(Registered) =/= undefined
    end
end,
Authentication = case IsRunning(Checker) of
    false -> false;
    true -> try apply(Existing(Checker), Existing(IsEnabled), []) catch _:_ -> unknown end
end,
Online = Existing(Presence),
Lookup = fun(Table, User) -> try ets:lookup(Table, User) catch error:badarg -> [] end end,
Pending = fun(Pid) ->
    case is_process_alive(Pid) of
        false ->
            noproc;
        true ->
            try
                {_, Data} = sys:get_state(Pid, Wait),
                map_size(hd([Field || Field <- tuple_to_list(Data), is_map(Field)]))
            catch
                _:_ -> unknown
            end
    end
end,
Connected = [{User, Pending(Pid)} || User <- Users, {_, Pid} <- Lookup(Online, User)],
Kept = [{Table, User} || Name <- Tables, Table <- [Existing(Name)], User <- Users, Lookup(Table, User) =/= []],
Stale = [{Online, User} || {User, noproc} <- Connected],
Removed = case Remove of
    true -> length([ets:delete(Table, User) || {Table, User} <- Kept ++ Stale]);
    false -> 0
end,
{Authentication, IsRunning(Limiter), Connected, Removed}
