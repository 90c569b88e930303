%% Delete exactly these records of offline_msg, in one transaction that waits for every copy of the table. Others
%% under the same key, such as a message that has just arrived, are not touched.
%%
%% Records: whole records.
mnesia:sync_transaction(fun() ->
    lists:foreach(fun(Record) -> ok = mnesia:delete_object(offline_msg, Record, write) end, Records)
end)
