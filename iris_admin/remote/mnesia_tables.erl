%% Where this core's tables are, and how many lock requests wait. No table is read.
%%
%% Max: report no more tables.
%%
%% Gives {NumberOfTables, Waiting, [{Table, WhereToRead, Copies, WhereToWrite}]}.
Item = fun(Table, What) -> try mnesia:table_info(Table, What) catch exit:_ -> [] end end,
Tables = mnesia:system_info(tables),
{
    length(Tables),
    ets:info(mnesia_lock_queue, size),
    [
        {
            Table,
            Item(Table, where_to_read),
            lists:append([Item(Table, What) || What <- [ram_copies, disc_copies, disc_only_copies]]),
            Item(Table, where_to_write)
        }
     || Table <- lists:sublist(Tables, Max)
    ]
}
