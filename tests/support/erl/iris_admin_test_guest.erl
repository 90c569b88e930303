%% What a guest could leave on a node, told in lines of text "kind TAB thing" so that two looks can be compared.
-module(iris_admin_test_guest).

-export([start/0, look/0, load_everything/0]).
-export([meter/0, metered/0, fill_core/2, fill_edge/1]).
-export([log/2]).

%% Collect what is logged at warning or above from now on.
start() ->
    Starter = self(),
    spawn(fun() ->
                  register(?MODULE, self()),
                  Starter ! {?MODULE, ready},
                  collect([], {0, nothing})
          end),
    receive {?MODULE, ready} -> ok end,
    ok = logger:add_handler(?MODULE, ?MODULE, #{level => warning}),
    _ = look(),
    ok.

%% A handler of logger's.
log(#{level := Level, msg := Message}, _Config) ->
    ?MODULE ! {logged, {Level, Message}}.

collect(Logged, {Milliseconds, _} = Longest) ->
    receive
        {logged, Event} ->
            collect([Event | Logged], Longest);
        {monitor, What, long_schedule, Info} ->
            case proplists:get_value(timeout, Info) of
                Longer when Longer > Milliseconds -> collect(Logged, {Longer, {What, Info}});
                _ -> collect(Logged, Longest)
            end;
        {ask, From, Reference, logged} ->
            From ! {Reference, Logged},
            collect(Logged, Longest);
        {ask, From, Reference, longest} ->
            From ! {Reference, Longest},
            collect(Logged, {0, nothing})
    end.

ask(What) ->
    Reference = monitor(process, ?MODULE),
    ?MODULE ! {ask, self(), Reference, What},
    receive {Reference, Answer} -> demonitor(Reference, [flush]), Answer end.

%% Load what the node has in its code path of OTP's applications that a core or an edge may use, and of Iris: what a
%% release in embedded mode does when it boots.
load_everything() ->
    [_ = code:ensure_loaded(list_to_atom(filename:basename(File, ".beam")))
     || Directory <- code:get_path(),
        is_wanted(Directory),
        File <- filelib:wildcard(filename:join(Directory, "*.beam"))],
    ok.

is_wanted(Directory) ->
    case string:find(Directory, code:lib_dir()) of
        nomatch ->
            true;
        _ ->
            [Name | _] = string:split(filename:basename(filename:dirname(Directory)), "-"),
            lists:member(Name, ["kernel", "stdlib", "mnesia", "sasl", "os_mon", "crypto", "compiler", "runtime_tools"])
    end.

%% What the node does from now on: reductions, bytes that came and went, and whether something held a scheduler for a
%% millisecond or longer.
meter() ->
    _ = erlang:system_monitor(whereis(?MODULE), [{long_schedule, 1}]),
    {_, _} = ask(longest),
    ok.

%% {Reductions, BytesReceived, BytesSent, LongestMilliseconds, What}, all but the last two since the node has started.
metered() ->
    {Milliseconds, What} = ask(longest),
    {{input, Received}, {output, Sent}} = erlang:statistics(io),
    {Reductions, _} = erlang:statistics(exact_reductions),
    {Reductions, Received, Sent, Milliseconds, What}.

%% Rows as Iris writes them, in this node's copies only: so many messages of so many users.
fill_core(Messages, Users) ->
    Now = os:system_time(millisecond),
    [ets:insert(offline_msg, {offline_msg, {user(N rem Users), 0}, Now - N, <<N:64, 0:1536>>})
     || N <- lists:seq(1, Messages)],
    [ets:insert(presence_local, {user(N), {presence_entry, user(N), node(), self(), Now, Now}})
     || N <- lists:seq(1, Users)],
    ok.

%% So many users who are connected.
fill_edge(Users) ->
    [ets:insert(local_presence_v2, {user(N), whereis(?MODULE)}) || N <- lists:seq(1, Users)],
    ok.

user(N) -> iolist_to_binary(io_lib:format("crowd~6..0b", [N])).

%% Everything but the process that looks. A node that has left is known for as long as some term is of it, even one
%% that nobody needs any more.
look() ->
    Us = self(),
    [garbage_collect(Pid) || Pid <- processes()],
    Processes = [Pid || Pid <- processes(), Pid =/= Us],
    Lines =
        [{process, {Pid, name(Pid)}} || Pid <- Processes]
        ++ relations(Processes, monitors, monitor)
        ++ relations(Processes, monitored_by, monitored_by)
        ++ relations(Processes, links, link)
        ++ [{link, {Port, Pid}} || Port <- erlang:ports(), {links, Pids} <- [erlang:port_info(Port, links)], Pid <- Pids]
        ++ [{port, {Port, proplists:get_value(name, info(erlang:port_info(Port)))}} || Port <- erlang:ports()]
        ++ [{module, Module} || {Module, _} <- code:all_loaded()]
        ++ [{ets, {Table, ets:info(Table, name), ets:info(Table, owner)}} || Table <- ets:all()]
        ++ [{registered, Name} || Name <- registered()]
        ++ [{node, {Kind, Node}} || Kind <- [known, hidden, connected], Node <- nodes(Kind)]
        ++ [{application, {Application, Version}} || {Application, _, Version} <- application:loaded_applications()]
        ++ [{environment, {Application, Key, Value}}
            || {Application, _, _} <- application:loaded_applications(),
               {Key, Value} <- application:get_all_env(Application)]
        ++ [{schema, Item} || Item <- schema()]
        ++ [{presence, Row} || Table <- [presence_local, local_presence_v2],
                               ets:info(Table, size) =/= undefined,
                               Row <- ets:tab2list(Table)]
        ++ [{logged, Event} || Event <- ask(logged)],
    base64:encode(unicode:characters_to_binary(
        [io_lib:format("~s\t~0tp~n", [Kind, Thing]) || {Kind, Thing} <- Lines]
        ++ io_lib:format("atoms\t~b~n", [erlang:system_info(atom_count)]))).

info(undefined) -> [];
info(Items) -> Items.

relations(Processes, Item, Kind) ->
    [{Kind, {Pid, Other}}
     || Pid <- Processes, {_, Others} <- [process_info(Pid, Item)], Other <- Others, Other =/= self(),
        Other =/= {process, self()}].

name(Pid) ->
    case process_info(Pid, registered_name) of
        {registered_name, Name} -> Name;
        _ -> proc_lib:translate_initial_call(Pid)
    end.

schema() ->
    case lists:keymember(mnesia, 1, application:which_applications()) of
        true ->
            [{Table, Item, mnesia:table_info(Table, Item)}
             || Table <- mnesia:system_info(tables),
                Item <- [type, attributes, record_name, index, cookie, version, where_to_commit, where_to_wlock,
                         disc_copies, ram_copies, disc_only_copies, access_mode, load_order, majority, local_content,
                         subscribers]]
            ++ [{db_nodes, mnesia:system_info(db_nodes)}, {running, mnesia:system_info(running_db_nodes)}];
        false ->
            []
    end.
