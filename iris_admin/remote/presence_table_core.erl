%% First part of what walks through a core's presence table. Nothing is changed: iris_presence's own functions would
%% delete entries that have expired.
%%
%% Defines Table and InEts for table_chunks.erl; Backend, and Size0, the number of rows; Entries, a match specification
%% that gives {User, Node, Pid, Heartbeat} of a row in each of its forms; and Users for walk_users.erl.
Backend = application:get_env(iris_core, presence_backend, ets),
Table = case Backend of ets -> presence_local; _ -> presence end,
%% Mnesia keeps the rows of a table in one of ETS, unless only another node has a copy.
InEts = ets:whereis(Table) =/= undefined,
InEts orelse Backend =/= ets orelse error({undefined, Table}),
Size0 = case InEts of true -> ets:info(Table, size); false -> mnesia:table_info(Table, size) end,
Entries = fun(Guards, Body) ->
    case Backend of
        ets -> [
            {{'$1', {presence_entry, '_', '$2', '$3', '_', '$4'}}, Guards, [Body]},
            {{'$1', '$2', '$3', '_', '$4'}, Guards, [Body]}
        ];
        _ -> [{{presence, '$1', '$2', '$3'}, Guards, [Body]}]
    end
end,
Users = fun(Holds) -> Entries([{is_binary, '$1'} | Holds], '$1') end
