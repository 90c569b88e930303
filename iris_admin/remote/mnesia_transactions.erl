%% The transactions that are under way on this node, the oldest first, as their serial numbers grow.
%%
%% N: show so many. MaxLocks: with more locks, do not look who holds how many.
%%
%% Gives {Count, [{Serial, Pid, coordinator | participant, HeldLocks, WaitingLocks}]}; the last two are undefined where
%% they were not looked at.
process_flag(max_heap_size, #{size => 16000000, kill => true, error_logger => false}),
Transactions = lists:sort(mnesia:system_info(transactions)),
Count = fun(Pids) ->
    lists:foldl(fun(Pid, Counts) -> maps:update_with(Pid, fun(Number) -> Number + 1 end, 1, Counts) end, #{}, Pids)
end,
{Held, Waiting} =
    case ets:info(mnesia_held_locks, size) + ets:info(mnesia_lock_queue, size) > MaxLocks of
        true ->
            {undefined, undefined};
        false ->
            {
                Count([Pid || {_, _, {tid, _, Pid}} <- mnesia:system_info(held_locks)]),
                Count([Pid || {_, _, _, {tid, _, Pid}, _} <- mnesia:system_info(lock_queue)])
            }
    end,
Of = fun
    (_, undefined) -> undefined;
    (Pid, Counts) -> maps:get(Pid, Counts, 0)
end,
{
    length(Transactions),
    [
        {Serial, Pid, Kind, Of(Pid, Held), Of(Pid, Waiting)}
     || {Serial, Pid, Kind} <- lists:sublist(Transactions, N)
    ]
}
