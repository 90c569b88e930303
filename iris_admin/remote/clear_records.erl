%% Delete exactly these records of offline_msg, in one transaction that waits for every copy of the table. Others under
%% the same keys, such as a message that has just arrived, are not touched.
%%
%% Records: whole records.
%%
%% Gives {atomic, Flags} or {aborted, Reason}: for each record whether it was still there, and so was deleted.
mnesia:sync_transaction(fun() ->
    Keys = lists:usort([element(2, Record) || Record <- Records]),
    Stored = maps:from_keys(lists:append([mnesia:read(offline_msg, Key, write) || Key <- Keys]), []),
    lists:map(
        fun(Record) ->
            case is_map_key(Record, Stored) of
                true -> ok = mnesia:delete_object(offline_msg, Record, write), true;
                false -> false
            end
        end,
        Records
    )
end)
