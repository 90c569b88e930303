%% Take rows out of offline_msg as they are, a piece at a time. Nothing is removed.
%%
%% Keys: all of them, or those of {user, User}. MaxBytes: of a piece; one row is one, however large it is.
%%
%% Answers {Lengths, Terms}: rows in the external term format, one behind the other, and how many bytes each has.
Start = fun() ->
    case Keys of
        all -> #{rows => [], more => First([{'_', [], ['$_']}]), part => []};
        {user, User} -> #{rows => [], more => {keys, KeysOf(User)}, part => []}
    end
end,
Fetch = fun(#{more := Where} = State) ->
    case Where of
        '$end_of_table' -> {done, State};
        {keys, []} -> {done, State};
        {keys, [Key | Keys1]} -> {more, State#{rows := [mnesia:dirty_read(offline_msg, Key)], more := {keys, Keys1}}};
        {Rows, Continuation} -> {more, State#{rows := [Rows], more := Next(Continuation)}}
    end
end,
Step = fun
    (#{rows := []} = State) ->
        Fetch(State);
    (#{rows := [[] | Rest]} = State) ->
        {more, State#{rows := Rest}};
    (#{rows := [Rows | Rest]} = State) ->
        case length(Rows) =:= 1 orelse (length(Rows) =< Chunk andalso erlang:external_size(Rows) =< MaxBytes) of
            true ->
                {full, State#{rows := Rest, part := Rows}};
            false ->
                {Half, Other} = lists:split(length(Rows) div 2, Rows),
                {more, State#{rows := [Half, Other | Rest]}}
        end
end,
Report = fun(#{part := Rows} = State) ->
    %% Compiled functions, for there may be ten million rows.
    Terms = lists:map(fun erlang:term_to_binary/1, Rows),
    {{lists:map(fun erlang:byte_size/1, Terms), iolist_to_binary(Terms)}, State#{part := []}}
end
