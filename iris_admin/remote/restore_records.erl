%% Put records back into offline_msg, in one transaction that waits for every copy of the table. One that is stored
%% already is left as it is: the table is a bag, and holds equal records once.
%%
%% Records: whole records. DryRun: only look.
%%
%% Gives {atomic, Flags} or {aborted, Reason}: for each record whether it was stored already.
mnesia:sync_transaction(fun() ->
    Lock = case DryRun of true -> read; false -> write end,
    Keys = lists:usort([element(2, Record) || Record <- Records]),
    Stored = maps:from_keys(lists:append([mnesia:read(offline_msg, Key, Lock) || Key <- Keys]), []),
    lists:map(
        fun(Record) ->
            case is_map_key(Record, Stored) of
                true -> true;
                false when DryRun -> false;
                false -> ok = mnesia:write(offline_msg, Record, write), false
            end
        end,
        Records
    )
end)
