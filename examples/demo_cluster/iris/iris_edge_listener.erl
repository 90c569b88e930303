%% Accepts clients and gives each one a connection process.
%%
%% Everything here is linked, as in the real system: a connection that ends in any way but normally
%% takes its acceptor with it, the acceptor takes the listener, and the listener takes all other
%% connections of this port. The supervisor then opens the same port again.
-module(iris_edge_listener).
-behaviour(gen_server).

-export([start_link/1, start_link/2, port/1]).
-export([init/1, handle_call/3, handle_cast/2]).

-spec start_link(inet:port_number()) -> {ok, pid()} | {error, term()}.
start_link(Port) ->
    start_link(Port, iris_edge_conn).

-spec start_link(inet:port_number(), module()) -> {ok, pid()} | {error, term()}.
start_link(Port, Handler) ->
    gen_server:start_link(?MODULE, {Port, Handler}, []).

%% The port that clients of this handler connect to, also when port 0 was configured.
-spec port(module()) -> inet:port_number().
port(Handler) ->
    persistent_term:get({?MODULE, Handler}).

-spec init({inet:port_number(), module()}) -> {ok, gen_tcp:socket()} | {stop, term()}.
init({Configured, Handler}) ->
    %% After a crash the clients come back to the port that they know.
    Port = persistent_term:get({?MODULE, Handler}, Configured),
    {ok, Address} = application:get_env(iris_edge, listen_address),
    case gen_tcp:listen(Port, [binary, {ip, Address}, {active, false}, {reuseaddr, true}, {backlog, 1024},
                               {nodelay, true}, {send_timeout, 30000}, {send_timeout_close, true}]) of
        {ok, Listener} ->
            {ok, Bound} = inet:port(Listener),
            ok = persistent_term:put({?MODULE, Handler}, Bound),
            [spawn_link(fun() -> accept(Listener, Handler) end)
             || _ <- lists:seq(1, application:get_env(iris_edge, acceptors, 8))],
            {ok, Listener};
        {error, Reason} ->
            {stop, Reason}
    end.

-spec handle_call(term(), gen_server:from(), gen_tcp:socket()) -> {reply, ok, gen_tcp:socket()}.
handle_call(_Request, _From, Listener) ->
    {reply, ok, Listener}.

-spec handle_cast(term(), gen_tcp:socket()) -> {noreply, gen_tcp:socket()}.
handle_cast(_Message, Listener) ->
    {noreply, Listener}.

accept(Listener, Handler) ->
    case gen_tcp:accept(Listener) of
        {ok, Socket} ->
            {ok, Pid} = Handler:start_link(Socket),
            %% A client that has gone already: the connection process finds out by itself.
            _ = gen_tcp:controlling_process(Socket, Pid),
            ok = Handler:set_socket(Pid, Socket),
            accept(Listener, Handler);
        {error, closed} ->
            ok;
        {error, _Reason} ->
            accept(Listener, Handler)
    end.
