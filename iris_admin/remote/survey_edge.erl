%% What this edge's table of connected users says of itself. Nothing is changed.
%%
%% Max: look at no more entries. Sample: name no more users.
%%
%% Gives {Size, Looked, Dead, [{User, Pid}], [User]}: entries in the table and how many were looked at; how many of
%% those have a process that is gone, with some of them; some users whose process lives. Or undefined where there is
%% no such table.
process_flag(max_heap_size, #{size => 8000000, kill => true, error_logger => false}),
Lives = fun(Pid) -> try is_process_alive(Pid) catch error:badarg -> false end end,
Walk = fun
    Walk({Rows, Continuation}, Looked, Dead, DeadUsers, Users) when Looked < Max ->
        Gone = [Row || {_, Pid} = Row <- Rows, not Lives(Pid)],
        Living = case length(Users) < Sample of true -> [User || {User, _} <- Rows -- Gone]; false -> [] end,
        Walk(
            ets:select(Continuation),
            Looked + length(Rows),
            Dead + length(Gone),
            lists:sublist(DeadUsers ++ Gone, Sample),
            lists:sublist(Users ++ Living, Sample)
        );
    Walk(_, Looked, Dead, DeadUsers, Users) ->
        {ets:info(local_presence_v2, size), Looked, Dead, DeadUsers, Users}
end,
case ets:whereis(local_presence_v2) of
    undefined -> undefined;
    _ -> Walk(ets:select(local_presence_v2, [{{'_', '_'}, [], ['$_']}], min(Max, 500)), 0, 0, [], [])
end
