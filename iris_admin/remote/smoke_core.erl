%% What a core keeps of some users of our own, and its removal.
%%
%% Users: binaries. Buckets: look into so many of a user's in offline_msg. Remove: whether to remove the rows.
%% Presence, Offline, Tables: names of the ETS table of presence, of offline_msg, and of those Mnesia tables that have
%% the user as the key. Names are binaries, for they become no atoms here.
%%
%% Gives [{Name, User, Rows}], as it was before a removal.
Existing = fun(Name) -> try binary_to_existing_atom(Name) catch error:badarg -> undefined end end,
Known = try mnesia:system_info(tables) catch exit:_ -> [] end,
Tables1 = [{Name, Table} || Name <- Tables, Table <- [Existing(Name)], lists:member(Table, Known)],
Stored = [{Offline, Table} || Table <- [Existing(Offline)], lists:member(Table, Known)],
Keys = fun(User) -> [User | [{User, Bucket} || Bucket <- lists:seq(0, Buckets - 1)]] end,
Count = fun(Table, Key) -> length(try mnesia:dirty_read(Table, Key) catch exit:_ -> [] end) end,
Rows =
    [{Name, User, Table, User, N} || {Name, Table} <- Tables1, User <- Users, N <- [Count(Table, User)], N > 0] ++
        [
            {Name, User, Table, Key, N}
         || {Name, Table} <- Stored, User <- Users, Key <- Keys(User), N <- [Count(Table, Key)], N > 0
        ],
Local = Existing(Presence),
Present = [User || User <- Users, try ets:member(Local, User) catch error:badarg -> false end],
case Remove andalso Rows =/= [] of
    true ->
        {atomic, ok} = mnesia:sync_transaction(fun() ->
            lists:foreach(fun({_, _, Table, Key, _}) -> ok = mnesia:delete({Table, Key}) end, Rows)
        end);
    false ->
        ok
end,
case Remove of
    true -> lists:foreach(fun(User) -> ets:delete(Local, User) end, Present);
    false -> ok
end,
[{Name, User, N} || {Name, User, _, _, N} <- Rows] ++ [{Presence, User, 1} || User <- Present]
