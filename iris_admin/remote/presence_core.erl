%% What this core believes about a user's presence, read from the tables themselves: iris_presence:lookup_local/1
%% would delete an entry that has expired. Nothing is changed.
%%
%% User: the user.
%%
%% Gives {Backend, Rows, NowMs, ExpiryMs}; Rows is undefined where there is no such table.
Backend = application:get_env(iris_core, presence_backend, ets),
{
    Backend,
    case Backend of
        ets ->
            case ets:whereis(presence_local) of
                undefined -> undefined;
                _ -> ets:lookup(presence_local, User)
            end;
        _ ->
            try mnesia:dirty_read(presence, User) catch exit:{aborted, _} -> undefined end
    end,
    erlang:system_time(millisecond),
    application:get_env(iris_core, presence_expiry_ms, 30000)
}
