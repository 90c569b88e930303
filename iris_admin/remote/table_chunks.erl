%% Second part of what walks through a table of Mnesia, which keeps the rows in a table of ETS of the same name, but for
%% tables on disc only and copies on other nodes.
%%
%% Chunk: rows to be looked at in one go. Before it, Table is defined, its name; and InEts, whether its rows are in ETS.
%%
%% Defines Around for walker.erl; First and Next, which select a chunk of rows.
Around = fun(Run) ->
    case InEts of
        true -> Run();
        false -> mnesia:activity(async_dirty, Run)
    end
end,
First = fun(Pattern) ->
    case InEts of
        true ->
            %% Released when this process ends.
            ets:safe_fixtable(Table, true),
            ets:select(Table, Pattern, Chunk);
        false ->
            mnesia:select(Table, Pattern, Chunk, read)
    end
end,
Next = fun(Continuation) ->
    case InEts of
        true -> ets:select(Continuation);
        false -> mnesia:select(Continuation)
    end
end
