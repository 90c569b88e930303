%% The nodes that this core's presence entries name. Nothing is changed: iris_presence's own functions would delete
%% entries that have expired.
%%
%% Max: look at no more entries.
%%
%% Gives [{Node, Entries}].
process_flag(max_heap_size, #{size => 8000000, kill => true, error_logger => false}),
NodeOf = fun
    ({_, {presence_entry, _, Node, _, _, _}}) -> Node;
    ({presence, _, Node, _}) -> Node;
    (Row) when tuple_size(Row) >= 3 -> element(2, Row);
    (_) -> undefined
end,
Count = fun(Row, Counts) ->
    case NodeOf(Row) of
        Node when is_atom(Node), Node =/= undefined -> maps:update_with(Node, fun(N) -> N + 1 end, 1, Counts);
        _ -> Counts
    end
end,
Table =
    case application:get_env(iris_core, presence_backend, ets) of
        ets -> presence_local;
        _ -> presence
    end,
Walk = fun
    Walk({Rows, Continuation}, Left, Counts) when Left > 0 ->
        Walk(ets:select(Continuation), Left - length(Rows), lists:foldl(Count, Counts, Rows));
    Walk(_, _, Counts) ->
        Counts
end,
case ets:whereis(Table) of
    undefined -> [];
    _ -> maps:to_list(Walk(ets:select(Table, [{'_', [], ['$_']}], min(Max, 1000)), Max, #{}))
end
