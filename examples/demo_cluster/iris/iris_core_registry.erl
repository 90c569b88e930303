%% How edges find cores: every core joins the process group iris_core_nodes. Process groups do not
%% reach over hidden connections, so a hidden edge goes by the names of the nodes it is connected to.
-module(iris_core_registry).
-behaviour(gen_server).

-export([start_link/0, start_process_groups/0]).
-export([get_core/0, get_all_cores/0, get_registered_cores/0]).
-export([init/1, handle_call/3, handle_cast/2]).

-define(GROUP, iris_core_nodes).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% The default scope of pg; a node that is core and edge at once has it already.
-spec start_process_groups() -> {ok, pid()} | ignore.
start_process_groups() ->
    case pg:start_link() of
        {ok, Pid} -> {ok, Pid};
        {error, {already_started, _Pid}} -> ignore
    end.

-spec get_core() -> {ok, node()} | {error, no_cores_available}.
get_core() ->
    case get_all_cores() of
        [] -> {error, no_cores_available};
        Cores -> {ok, lists:nth(rand:uniform(length(Cores)), Cores)}
    end.

-spec get_all_cores() -> [node()].
get_all_cores() ->
    case get_registered_cores() of
        [] -> cores_by_name();
        Cores -> Cores
    end.

%% Those that joined the process group; none on a hidden edge.
-spec get_registered_cores() -> [node()].
get_registered_cores() ->
    lists:usort([node(Pid) || Pid <- pg:get_members(?GROUP)]).

cores_by_name() ->
    Connected = [Node || Node <- nodes(connected), string:find(atom_to_list(Node), "iris_core") =/= nomatch],
    case Connected of
        [] ->
            Configured = application:get_env(iris_edge, core_nodes, []),
            [Node || Node <- Configured, net_adm:ping(Node) =:= pong];
        [_ | _] ->
            Connected
    end.

-spec init([]) -> {ok, nostate}.
init([]) ->
    ok = pg:join(?GROUP, self()),
    {ok, nostate}.

-spec handle_call(term(), gen_server:from(), nostate) -> {reply, ok, nostate}.
handle_call(_Request, _From, State) ->
    {reply, ok, State}.

-spec handle_cast(term(), nostate) -> {noreply, nostate}.
handle_cast(_Message, State) ->
    {noreply, State}.
