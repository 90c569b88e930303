%% With how many processes one has to do. The lists themselves may be long, a supervisor's for one, and stay here.
%%
%% Pid: the process. MaxHeap: of this process, in words.
%%
%% Gives [Links, Monitors, MonitoredBy], or [] when the process has ended.
process_flag(max_heap_size, #{size => MaxHeap, kill => true, error_logger => false}),
[length(List) || Item <- [links, monitors, monitored_by], {_, List} <- [process_info(Pid, Item)]]
