%% The N largest ETS tables. There may be a hundred thousand, so the inner loops are functions of the standard library,
%% which are compiled. No row is read.
%%
%% Item: memory or size. N: how many. Size: look at so many at a time.
%%
%% Gives {WordSize, NumberOfTables, SumOfValues, [{Table, Name, Rows, Words, Type, Protection, Owner, OwnersName}]}, the
%% largest first. A table that nobody may find by its name has a reference for Table.
process_flag(max_heap_size, #{
    size => 12 * erlang:system_info(ets_count) + 4000000, kill => true, error_logger => false
}),
Items = lists:duplicate(Size, Item),
%% A table that has just been deleted has undefined for a value.
Sized = ets:match_spec_compile([{{'$1', '$2'}, [{is_integer, '$1'}], ['$_']}]),
Rank = fun
    Rank([], Ranked, Sum) ->
        {Ranked, Sum};
    Rank(Tables, Ranked, Sum) ->
        {Chunk, Rest} = lists:split(min(Size, length(Tables)), Tables),
        Values = lists:zipwith(fun ets:info/2, Chunk, lists:sublist(Items, length(Chunk))),
        Found = ets:match_spec_run(lists:zip(Values, Chunk), Sized),
        {Numbers, _} = lists:unzip(Found),
        Rank(Rest, lists:sublist(lists:reverse(lists:sort(Found ++ Ranked)), N), Sum + lists:sum(Numbers))
end,
Tables = ets:all(),
{Ranked, Sum} = Rank(Tables, [], 0),
Name = fun(Owner) ->
    case is_pid(Owner) andalso process_info(Owner, registered_name) of
        {registered_name, Registered} -> Registered;
        _ -> undefined
    end
end,
{
    erlang:system_info(wordsize),
    length(Tables),
    Sum,
    [
        {
            Table,
            proplists:get_value(name, Info),
            proplists:get_value(size, Info),
            proplists:get_value(memory, Info),
            proplists:get_value(type, Info),
            proplists:get_value(protection, Info),
            proplists:get_value(owner, Info),
            Name(proplists:get_value(owner, Info))
        }
     || {_, Table} <- Ranked, Info <- [ets:info(Table)], is_list(Info)
    ]
}
