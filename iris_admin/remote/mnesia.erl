%% What Mnesia knows of itself and its tables, without the contents of any table, lock or transaction.
%%
%% SystemItems: for mnesia:system_info/1. TableItems: for mnesia:table_info/2. MaxTables: report no more tables.
%%
%% Gives {Values of the system items, WordSize, HeldLocks, QueuedLocks, NumberOfTables, [{Table, Values}]}. What
%% cannot be told is undefined.
Tables = lists:sort(mnesia:system_info(tables)),
{
    [try mnesia:system_info(Item) catch exit:_ -> undefined end || Item <- SystemItems],
    erlang:system_info(wordsize),
    %% mnesia:system_info(held_locks) copies every lock, and there may be a million.
    ets:info(mnesia_held_locks, size),
    ets:info(mnesia_lock_queue, size),
    length(Tables),
    [
        {Table, [try mnesia:table_info(Table, Item) catch exit:_ -> undefined end || Item <- TableItems]}
     || Table <- lists:sublist(Tables, MaxTables)
    ]
}
