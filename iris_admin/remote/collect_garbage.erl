%% Collect the garbage of some processes, all at once, and see what that gave back.
%%
%% Pids: the processes. Within: how long to wait for them, in milliseconds; one that executes native code answers when
%% that has ended.
%%
%% Gives for each {Pid, Before, After, Collected}: {Bytes, BinaryWords} or undefined for one that has ended, and
%% whether it answered in time.
Size = fun(Pid) ->
    case process_info(Pid, [memory, garbage_collection_info]) of
        [{_, Bytes}, {_, Info}] ->
            {Bytes, lists:sum([Words || {Name, Words} <- Info, lists:member(Name, [bin_vheap_size, bin_old_vheap_size])])};
        undefined ->
            undefined
    end
end,
Before = [{Pid, Size(Pid), garbage_collect(Pid, [{async, Pid}])} || Pid <- Pids],
End = erlang:monotonic_time(millisecond) + Within,
Answers = [
    receive
        {garbage_collect, Pid, Done} -> Done
    after max(0, End - erlang:monotonic_time(millisecond)) -> false
    end
 || Pid <- Pids
],
[{Pid, Was, Size(Pid), Done} || {{Pid, Was, _}, Done} <- lists:zip(Before, Answers)]
