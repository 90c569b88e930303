%% First part of what walks through an edge's presence table. Nothing is changed.
%%
%% Chunk: rows to be looked at in one go.
%%
%% Defines Around for walker.erl; First and Next, which select a chunk of rows; Size0, the number of rows; and Users for
%% walk_users.erl.
Size0 = case ets:info(local_presence_v2, size) of
    undefined -> error({undefined, local_presence_v2});
    Number -> Number
end,
Around = fun(Run) -> Run() end,
First = fun(Pattern) ->
    ets:safe_fixtable(local_presence_v2, true),
    ets:select(local_presence_v2, Pattern, Chunk)
end,
Next = fun ets:select/1,
Users = fun(Holds) -> [{{'$1', '_'}, [{is_binary, '$1'} | Holds], ['$1']}] end
