%% Read pieces of files, at once or when one of them changes.
%%
%% Reads: {Path, Position, Length, Inode}; the inode, or 0, is the file that was read before. Wait: how long to wait
%% until a file is longer or another one, in milliseconds; Pause: between two looks.
%% Nothing: an empty binary.
%%
%% Gives {Size, Inode, Modified, Data} for each, or {error, Reason}. Data is empty behind the end of a file, and where
%% the file is not the one that was read before. What is no regular file is not opened: a pipe would be emptied. Its
%% type, such as directory or other, is the reason.
Look = fun({Path, Position, Length, Inode}) ->
    case file:read_file_info(Path, [raw, {time, posix}]) of
        {ok, {file_info, Size, regular, _, _, Modified, _, _, _, _, _, Now, _, _}} ->
            case Position < Size andalso (Inode =:= 0 orelse Inode =:= Now) of
                false -> {Size, Now, Modified, same, Nothing};
                true -> {Size, Now, Modified, {read, Path, Position, Length}, Nothing}
            end;
        {ok, Other} ->
            {error, element(3, Other)};
        {error, Reason} ->
            {error, Reason}
    end
end,
Changed = fun
    ({{Path, Position, _, Inode}, {Size, Now, _, _, _}}) -> Size =/= Position orelse (Inode =/= 0 andalso Inode =/= Now);
    ({_, {error, _}}) -> false
end,
Read = fun
    ({Size, Now, Modified, {read, Path, Position, Length}, _}) ->
        case file:open(Path, [read, raw, binary]) of
            {ok, File} ->
                Data = case file:pread(File, Position, Length) of {ok, Bytes} -> Bytes; _ -> Nothing end,
                ok = file:close(File),
                {Size, Now, Modified, Data};
            {error, Reason} ->
                {error, Reason}
        end;
    ({Size, Now, Modified, same, _}) ->
        {Size, Now, Modified, Nothing};
    ({error, Reason}) ->
        {error, Reason}
end,
Deadline = erlang:monotonic_time(millisecond) + Wait,
Await = fun Await() ->
    Seen = lists:map(Look, Reads),
    case lists:any(Changed, lists:zip(Reads, Seen)) orelse erlang:monotonic_time(millisecond) >= Deadline of
        true ->
            Seen;
        false ->
            timer:sleep(Pause),
            Await()
    end
end,
lists:map(Read, Await())
