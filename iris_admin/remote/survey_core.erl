%% What this core believes of who is connected where. Nothing is changed: iris_presence:lookup_local/1 would delete an
%% entry that has expired.
%%
%% Max: look at no more entries. Users: of these, which does this core know?
%%
%% Gives {Backend, Size, Looked, Expired, [{User, Node, Pid}], Known}: entries and how many were looked at; how many
%% of those have expired, and the others; those of Users with an entry that has not expired. Or {Backend, undefined}
%% where there is no such table.
process_flag(max_heap_size, #{size => 16000000, kill => true, error_logger => false}),
Backend = application:get_env(iris_core, presence_backend, ets),
Table = case Backend of ets -> presence_local; _ -> presence end,
Oldest = erlang:system_time(millisecond) - application:get_env(iris_core, presence_expiry_ms, 30000),
Read = fun
    ({User, {presence_entry, _, Node, Pid, _, Heartbeat}}) -> {Heartbeat >= Oldest, {User, Node, Pid}};
    ({User, Node, Pid, _, Heartbeat}) when is_integer(Heartbeat) -> {Heartbeat >= Oldest, {User, Node, Pid}};
    ({presence, User, Node, Pid}) -> {true, {User, Node, Pid}};
    (_) -> {false, unknown}
end,
Walk = fun
    Walk({Rows, Continuation}, Looked, Expired, Entries) when Looked < Max ->
        {Good, Bad} = lists:partition(fun({Fresh, _}) -> Fresh end, lists:map(Read, Rows)),
        Walk(
            ets:select(Continuation),
            Looked + length(Rows),
            Expired + length(Bad),
            [Entry || {_, Entry} <- Good] ++ Entries
        );
    Walk(_, Looked, Expired, Entries) ->
        Known = [User || User <- Users, lists:any(fun(Row) -> element(1, Read(Row)) end, ets:lookup(Table, User))],
        {Backend, ets:info(Table, size), Looked, Expired, Entries, Known}
end,
case ets:whereis(Table) of
    undefined -> {Backend, undefined};
    _ -> Walk(ets:select(Table, [{'_', [], ['$_']}], min(Max, 500)), 0, 0, [])
end
