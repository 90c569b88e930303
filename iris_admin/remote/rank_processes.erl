%% The N processes that hold, or have done, the most. There may be a million of them, so the inner loops are functions
%% of the standard library, which are compiled; what is interpreted runs once for Size processes. What is not among
%% the best so far is dropped at once.
%%
%% Item: memory, reductions, message_queue_len or garbage_collection_info; the last stands for the binaries that a
%% process refers to, in words. (The item binary would make a list of them, of any length.) N: how many. Interval: 0,
%% or rank by the increase within so many milliseconds, of the processes that are there all the time. Size: see above.
%%
%% Gives {WordSize, NumberOfProcesses, [{Value, Pid}]}, the best first; those of which the value is 0 are left out.
process_flag(max_heap_size, #{
    %% The list of all pids has two words for each, and a garbage collection copies it.
    size => 12 * erlang:system_info(process_count) + 4000000,
    kill => true,
    error_logger => false
}),
{Pattern, Value} =
    case Item of
        garbage_collection_info ->
            {Item, Own} = process_info(self(), Item),
            true = lists:keymember(bin_vheap_size, 1, Own),
            Binaries = fun
                (bin_vheap_size) -> {bin_vheap_size, '$1'};
                (bin_old_vheap_size) -> {bin_old_vheap_size, '$2'};
                (_) -> '_'
            end,
            {{Item, [Binaries(Name) || {Name, _} <- Own]}, {'+', '$1', '$2'}};
        _ ->
            {{Item, '$1'}, '$1'}
    end,
Compile = fun(Head, Guards, Body) -> ets:match_spec_compile([{Head, Guards, [Body]}]) end,
Items = lists:duplicate(Size, Item),
Ask = fun(Pids) ->
    try lists:split(Size, Pids) of
        {Chunk, Rest} -> {Chunk, lists:zipwith(fun erlang:process_info/2, Chunk, Items), Rest}
    catch
        error:badarg -> {Pids, lists:zipwith(fun erlang:process_info/2, Pids, lists:sublist(Items, length(Pids))), []}
    end
end,
%% One more than asked for, since this process is one of them.
Best = fun(Candidates) -> lists:sublist(lists:reverse(lists:sort(Candidates)), N + 1) end,
Threshold = fun(Ranked) -> case length(Ranked) > N of true -> element(1, lists:last(Ranked)); false -> 0 end end,
Rank = fun
    Rank([], Ranked, _, _) ->
        Ranked;
    Rank(Pids, Ranked, Above, Pick) ->
        {Chunk, Infos, Rest} = Ask(Pids),
        case ets:match_spec_run(Infos, Above) of
            [] ->
                Rank(Rest, Ranked, Above, Pick);
            _ ->
                Better = Best(ets:match_spec_run(lists:zip(Infos, Chunk), Pick) ++ Ranked),
                Guards = [{'>', Value, Threshold(Better)}],
                Rank(Rest, Better, Compile(Pattern, Guards, true), Compile({Pattern, '$3'}, Guards, {{Value, '$3'}}))
        end
end,
%% In the external format a number takes a third of the room, and none on this heap.
Snapshot = fun
    Snapshot([], _, Chunks) ->
        Chunks;
    Snapshot(Pids, Numbers, Chunks) ->
        {Chunk, Infos, Rest} = Ask(Pids),
        Snapshot(Rest, Numbers, [{Chunk, term_to_binary(ets:match_spec_run(Infos, Numbers))} | Chunks])
end,
CompileChange = fun(Low) ->
    Change = {'-', Value, '$4'},
    Compile({Pattern, '$3', '$4'}, [{is_integer, '$4'}, {'>', Change, Low}], {{Change, '$3'}})
end,
RankChange = fun
    RankChange([], Ranked, _) ->
        Ranked;
    RankChange([{Pids, Before} | Chunks], Ranked, Pick) ->
        {Chunk, Infos, []} = Ask(Pids),
        case ets:match_spec_run(lists:zip3(Infos, Chunk, binary_to_term(Before)), Pick) of
            [] ->
                RankChange(Chunks, Ranked, Pick);
            Found ->
                Better = Best(Found ++ Ranked),
                RankChange(Chunks, Better, CompileChange(Threshold(Better)))
        end
end,
Ranked =
    case Interval of
        0 ->
            Some = [{'>', Value, 0}],
            Rank(processes(), [], Compile(Pattern, Some, true), Compile({Pattern, '$3'}, Some, {{Value, '$3'}}));
        _ ->
            %% Of a process that has just ended there is no number, and it is not ranked.
            Numbers = ets:match_spec_compile([{Pattern, [], [Value]}, {'_', [], [undefined]}]),
            Chunks = Snapshot(processes(), Numbers, []),
            %% Not timer:sleep/1, since not every node has loaded that module.
            receive after Interval -> ok end,
            RankChange(Chunks, [], CompileChange(0))
    end,
{
    erlang:system_info(wordsize),
    erlang:system_info(process_count),
    lists:sublist([Entry || {_, Pid} = Entry <- Ranked, Pid =/= self()], N)
}
