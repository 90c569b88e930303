%% Which of some processes of this node are gone.
%%
%% Pids: the processes.
%%
%% Gives those of them that do not live.
[Pid || Pid <- Pids, not (try is_process_alive(Pid) catch error:badarg -> false end)]
