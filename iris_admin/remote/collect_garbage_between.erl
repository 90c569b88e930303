%% Collect the garbage of all processes between two pids, one after the other.
%%
%% After, To: the first pid that is left out, the last one that is not. (A number is less than any pid, a tuple is
%% greater.) Few: how many are waited for together. Patience: how long to wait for so many, in milliseconds, Total: for
%% all. A process that executes native code answers when that has ended.
%%
%% Gives {Processes, Asked, Answered}: fewer are asked than there are if the time was too short.
process_flag(max_heap_size, #{
    size => 12 * erlang:system_info(process_count) + 4000000, kill => true, error_logger => false
}),
Wanted = ets:match_spec_compile([{'$1', [{'>', '$1', {const, After}}, {'=<', '$1', {const, To}}], ['$1']}]),
Pids = ets:match_spec_run(processes(), Wanted),
Now = fun() -> erlang:monotonic_time(millisecond) end,
End = Now() + Total,
%% The helper is linked, so that it ends with us, and it runs nothing but compiled code.
Collect = fun(Some) ->
    {Helper, Monitor} = spawn_opt(lists, foreach, [fun erlang:garbage_collect/1, Some], [link, monitor]),
    receive
        {'DOWN', Monitor, process, Helper, _} ->
            length(Some)
    after Patience ->
        %% It waits for one of them, and who is behind that one has not been asked.
        unlink(Helper),
        exit(Helper, kill),
        Until = Now() + 1000,
        lists:foreach(fun(Pid) -> garbage_collect(Pid, [{async, Pid}]) end, Some),
        length([
            Pid
         || Pid <- Some,
            receive
                {garbage_collect, Pid, _} -> true
            after max(0, Until - Now()) -> false
            end
        ])
    end
end,
Each = fun Each(Rest, Asked, Answered) ->
    case Rest =:= [] orelse Now() >= End of
        true ->
            {length(Pids), Asked, Answered};
        false ->
            {Some, Others} = lists:split(min(Few, length(Rest)), Rest),
            Each(Others, Asked + length(Some), Answered + Collect(Some))
    end
end,
Each(Pids, 0, 0)
