%% Pids that cut the processes of a node into parts of about equal size.
%%
%% Part: how many processes a part is to have. Samples: how many pids to choose from for each part.
%%
%% Gives {NumberOfProcesses, Pids}, the pids in order.
process_flag(max_heap_size, #{
    size => 12 * erlang:system_info(process_count) + 4000000, kill => true, error_logger => false
}),
Pick = fun Pick(Pids, Step, Picked) ->
    try lists:nthtail(Step, Pids) of
        [Pid | _] = Rest -> Pick(Rest, Step, [Pid | Picked]);
        [] -> Picked
    catch
        error:_ -> Picked
    end
end,
%% The list follows the table of processes, whose order has a pattern in powers of two: an odd step sees all of it.
Step = Part div Samples bor 1,
{
    erlang:system_info(process_count),
    %% To sort all of a million takes a second, and memory.
    lists:reverse(Pick([first | lists:sort(Pick([first | processes()], Step, []))], Samples, []))
}
