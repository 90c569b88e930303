%% The beginnings of some files, such as those of /proc. They are opened in this process, and no other is asked.
%%
%% Paths: their names. Max: read no more bytes of each.
%%
%% Gives for each a binary, or the reason as an atom.
[
    case file:open(Path, [read, raw, binary]) of
        {ok, File} ->
            Read = file:read(File, Max),
            file:close(File),
            case Read of
                {ok, Bytes} -> Bytes;
                eof -> <<>>;
                {error, Reason} -> Reason
            end;
        {error, Reason} ->
            Reason
    end
 || Path <- Paths
]
