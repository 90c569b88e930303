%% Whether the keys of offline_msg are the bare user, by the first one; undefined for an empty table.
case mnesia:dirty_first(offline_msg) of
    '$end_of_table' -> undefined;
    Key -> is_binary(Key)
end
