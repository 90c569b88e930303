%% The tables of Mnesia as this node sees them, and what of them it has itself. No row is read.
%%
%% Items: for mnesia:table_info/2. MaxTables: report no more tables.
%%
%% Gives {WordSize, NumberOfTables, [{Table, Values}]}, sorted by name. What cannot be told is undefined.
Tables = lists:sort(mnesia:system_info(tables)),
{
    erlang:system_info(wordsize),
    length(Tables),
    [
        {Table, [try mnesia:table_info(Table, Item) catch exit:_ -> undefined end || Item <- Items]}
     || Table <- lists:sublist(Tables, MaxTables)
    ]
}
