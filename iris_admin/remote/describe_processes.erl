%% What some processes are and do, and nothing of what they hold.
%%
%% Pids: the processes. Items: for process_info/2, each of which gives a value of a bounded size. MaxDictionary: read
%% the dictionary of a process only if its heap has no more words, for all of it would be copied.
%%
%% Gives for each {Pid, [{Item, Value}], BinaryWords, InitialCall}, where the last two can be undefined; of a process
%% that has ended the list is empty.
InitialCall = fun(Pid) ->
    try process_info(Pid, {dictionary, '$initial_call'}) of
        {_, Found} -> Found;
        undefined -> undefined
    catch
        error:badarg ->
            %% Before OTP 26.2 one entry alone cannot be read.
            case process_info(Pid, total_heap_size) of
                {_, Words} when Words =< MaxDictionary ->
                    case process_info(Pid, dictionary) of
                        {_, Dictionary} -> proplists:get_value('$initial_call', Dictionary);
                        undefined -> undefined
                    end;
                _ ->
                    undefined
            end
    end
end,
Binaries = fun(Pid) ->
    case process_info(Pid, garbage_collection_info) of
        {_, Info} -> lists:sum([Words || {Name, Words} <- Info, lists:member(Name, [bin_vheap_size, bin_old_vheap_size])]);
        undefined -> undefined
    end
end,
[
    case process_info(Pid, Items) of
        undefined -> {Pid, [], undefined, undefined};
        Info -> {Pid, Info, Binaries(Pid), InitialCall(Pid)}
    end
 || Pid <- Pids
]
