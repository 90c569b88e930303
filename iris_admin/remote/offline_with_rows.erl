%% Which of some users have rows in offline_msg.
%%
%% Users: the users. MaxHeap: of this process, in words.
%%
%% Gives [{User, NumberOfRows}], without those who have none.
process_flag(max_heap_size, #{size => MaxHeap, kill => true, error_logger => false}),
[
    {User, Number}
 || User <- Users, Number <- [lists:sum([length(Stamps(Key)) || Key <- KeysOf(User)])], Number > 0
]
