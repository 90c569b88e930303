%% Hold a core's entries against this edge's table.
%%
%% Entries: [{User, Pid}].
%%
%% Gives for each of them same; other, for a live process that the table does not have for that user; noproc, for a
%% process that has ended.
lists:map(
    fun({User, Pid}) ->
        case try is_process_alive(Pid) catch error:badarg -> false end of
            false ->
                noproc;
            true ->
                Rows = try ets:lookup(local_presence_v2, User) catch error:badarg -> [] end,
                case lists:member({User, Pid}, Rows) of
                    true -> same;
                    false -> other
                end
        end
    end,
    Entries
)
