%% As presence_core.erl, for many users.
%%
%% Users: the users.
%%
%% Gives {Backend, RowsOfEachUser, NowMs, ExpiryMs}; the second is undefined where there is no such table.
Backend = application:get_env(iris_core, presence_backend, ets),
Exists = case Backend of
    ets -> ets:whereis(presence_local) =/= undefined;
    _ -> try is_integer(mnesia:table_info(presence, size)) catch exit:_ -> false end
end,
{
    Backend,
    case {Exists, Backend} of
        {false, _} -> undefined;
        {true, ets} -> [ets:lookup(presence_local, User) || User <- Users];
        {true, _} -> [mnesia:dirty_read(presence, User) || User <- Users]
    end,
    erlang:system_time(millisecond),
    application:get_env(iris_core, presence_expiry_ms, 30000)
}
