%% Which of some users this core does not take for online.
%%
%% Users: their names. Examples: how many to name.
%%
%% Gives {Number, Names}.
Backend = application:get_env(iris_core, presence_backend, ets),
Oldest = erlang:system_time(millisecond) - application:get_env(iris_core, presence_expiry_ms, 30000),
IsKnown = fun(User) ->
    Rows = case Backend of
        ets -> ets:lookup(presence_local, User);
        _ -> mnesia:dirty_read(presence, User)
    end,
    case Rows of
        [{_, {presence_entry, _, _, _, _, Heartbeat}}] -> Heartbeat >= Oldest;
        [{_, _, _, _, Heartbeat}] -> Heartbeat >= Oldest;
        _ -> Rows =/= []
    end
end,
Unknown = [User || User <- Users, not IsKnown(User)],
{length(Unknown), lists:sublist(Unknown, Examples)}
