%% Where this node's log files are. Nothing in them is read.
%%
%% Outputs: {Name, Descriptor} of standard output and error.
%%
%% Gives {Node, OsPid, Directory, Handlers, Outputs, [File]}: the working directory; {Id, Module, Type} for each of
%% logger's handlers, Type being file, standard_io and so on, or undefined; {Name, What} for the outputs:
%% what they lead to, or undefined where the operating system does not tell; and for each file {Source, [Path]}:
%% newest first, then those that it was rotated into. Paths are binaries.
Binary = fun
    (Path) when is_binary(Path) -> Path;
    (Path) -> unicode:characters_to_binary(Path)
end,
IsFile = fun(Path) ->
    case file:read_file_info(Path, [raw]) of
        {ok, Info} -> element(3, Info) =:= regular;
        {error, _} -> false
    end
end,
Configs = [
    {maps:get(id, Handler), maps:get(module, Handler), maps:get(config, Handler, #{})}
 || Handler <- logger:get_handler_config()
],
Get = fun(Key, Config, Default) -> case Config of #{Key := Value} -> Value; _ -> Default end end,
Numbered = fun(File, Numbers) -> [lists:concat([File, ".", Number]) || Number <- Numbers] end,
%% Nodes that have never needed these keys do not know them as atoms, and need not learn them from us.
Named = fun(Name, Properties) -> [Value || {Key, Value} <- Properties, atom_to_list(Key) =:= Name] end,
%% The newest file of a wrap log is the one that is written now; the numbers behind it are older.
Wrapped = fun(Id, File, Count) ->
    Current =
        case disk_log:info(Id) of
            Info when is_list(Info) -> hd(Named("current_file", Info) ++ [1]);
            {error, _} -> 1
        end,
    Numbered(File, lists:seq(Current, 1, -1) ++ lists:seq(Count, Current + 1, -1))
end,
OfHandler = fun({Id, Module, Config}) ->
    File = Get(file, Config, undefined),
    Count = case Get(max_no_files, Config, 0) of N when is_integer(N) -> N; _ -> 0 end,
    case {Module, Get(type, Config, undefined)} of
        _ when File =:= undefined -> [];
        {logger_disk_log_h, halt} -> [File];
        {logger_disk_log_h, _} -> Wrapped(Id, File, Count);
        {logger_std_h, _} -> [File | Numbered(File, lists:seq(0, Count - 1))];
        _ -> [File]
    end
end,
%% Where the start script has sent what the node prints. A file that was deleted can still be read this way.
Output = fun(Descriptor) ->
    Link = lists:concat(["/proc/", os:getpid(), "/fd/", Descriptor]),
    case file:read_link_all(Link) of
        {ok, Target} ->
            case {IsFile(Link), IsFile(Target)} of
                {true, true} -> {Binary(Target), [Target]};
                {true, false} -> {Binary(Target), [Link]};
                {false, _} -> {Binary(Target), []}
            end;
        {error, _} ->
            {undefined, []}
    end
end,
Opened = [{Name, Output(Descriptor)} || {Name, Descriptor} <- Outputs],
Sasl = [
    element(2, To)
 || To <- Named("sasl_error_logger", application:get_all_env(sasl)), is_tuple(To), element(1, To) =:= file
],
Found = [
    {Source, [Binary(Path) || Path <- Existing]}
 || {Source, Paths} <-
        [{Id, OfHandler(Handler)} || {Id, _, _} = Handler <- Configs] ++
            [{sasl, Sasl}] ++ [{Name, Paths} || {Name, {_, Paths}} <- Opened],
    Existing <- [lists:filter(IsFile, Paths)],
    Existing =/= []
],
{ok, Directory} = file:get_cwd(),
{
    node(),
    os:getpid(),
    Binary(Directory),
    [{Id, Module, Get(type, Config, undefined)} || {Id, Module, Config} <- Configs],
    [{Name, Target} || {Name, {Target, _}} <- Opened],
    case Found of
        [] ->
            Names = case file:list_dir(Directory) of {ok, List} -> lists:sort(List); {error, _} -> [] end,
            Paths = [filename:join(Directory, Name) || Name <- Names, lists:suffix(".log", Name)],
            [{directory, [Binary(Path)]} || Path <- Paths, IsFile(Path)];
        _ ->
            Found
    end
}
