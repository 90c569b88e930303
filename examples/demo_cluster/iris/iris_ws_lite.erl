%% One WebSocket client (RFC 6455, binary frames without fragmentation; each frame is one packet of the
%% client protocol). A message is sent as it is, with no id and no acknowledgement: what the client
%% does not get is gone.
-module(iris_ws_lite).
-behaviour(gen_statem).

-export([start_link/1, set_socket/2]).
-export([init/1, callback_mode/0, terminate/3]).
-export([wait_for_socket/3, handshake/3, connected/3]).

-define(GUID, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").
-define(BINARY, 2).
-define(CLOSE, 8).
-define(PING, 9).
-define(PONG, 10).

-record(data, {socket :: gen_tcp:socket() | undefined,
               user :: binary() | undefined,
               buffer = <<>> :: binary()}).

-spec start_link(gen_tcp:socket()) -> {ok, pid()} | {error, term()}.
start_link(Socket) ->
    gen_statem:start_link(?MODULE, Socket, []).

-spec set_socket(pid(), gen_tcp:socket()) -> ok.
set_socket(Pid, Socket) ->
    gen_statem:cast(Pid, {socket_ready, Socket}).

-spec callback_mode() -> gen_statem:callback_mode_result().
callback_mode() ->
    state_functions.

-spec init(gen_tcp:socket()) -> gen_statem:init_result(wait_for_socket).
init(_Socket) ->
    {ok, wait_for_socket, #data{}}.

-spec wait_for_socket(gen_statem:event_type(), term(), #data{}) -> gen_statem:event_handler_result(atom()).
wait_for_socket(cast, {socket_ready, Socket}, Data) ->
    _ = inet:setopts(Socket, [{active, once}]),
    {next_state, handshake, Data#data{socket = Socket}};
wait_for_socket(_Type, _Event, _Data) ->
    {keep_state_and_data, postpone}.

%% As in the real system, a client that hangs up before its request is complete is not expected: this process crashes,
%% and takes its acceptor, the listener and all other WebSocket clients with it.
-spec handshake(gen_statem:event_type(), term(), #data{}) -> gen_statem:event_handler_result(atom()).
handshake(info, {tcp, Socket, Bytes}, #data{buffer = Buffer} = Data) ->
    Head = <<Buffer/binary, Bytes/binary>>,
    case binary:split(Head, <<"\r\n\r\n">>) of
        [_Incomplete] ->
            _ = inet:setopts(Socket, [{active, once}]),
            {keep_state, Data#data{buffer = Head}};
        [Request, Rest] ->
            case websocket_key(Request) of
                {ok, Key} ->
                    Accept = base64:encode(crypto:hash(sha, [Key, ?GUID])),
                    _ = gen_tcp:send(Socket, ["HTTP/1.1 101 Switching Protocols\r\n",
                                              "Upgrade: websocket\r\nConnection: Upgrade\r\n",
                                              "Sec-WebSocket-Accept: ", Accept, "\r\n\r\n"]),
                    {next_state, connected, Data#data{buffer = <<>>}, {next_event, info, {tcp, Socket, Rest}}};
                none ->
                    {stop, normal, Data}
            end
    end.

-spec connected(gen_statem:event_type(), term(), #data{}) -> gen_statem:event_handler_result(atom()).
connected(info, {tcp, _Socket, Bytes}, #data{buffer = Buffer} = Data) ->
    handle_frames(<<Buffer/binary, Bytes/binary>>, Data);
connected(info, {tcp_closed, _Socket}, Data) ->
    {stop, normal, Data};
connected(info, {tcp_error, _Socket, _Reason}, Data) ->
    {stop, normal, Data};
connected(info, {deliver_msg, Msg}, #data{socket = Socket}) ->
    _ = gen_tcp:send(Socket, frame(?BINARY, Msg)),
    keep_state_and_data.

-spec terminate(term(), atom(), #data{}) -> ok.
terminate(_Reason, _State, #data{user = User}) ->
    iris_session:terminate(User).

websocket_key(Request) ->
    Headers = [{string:lowercase(Name), string:trim(Value)}
               || Line <- binary:split(Request, <<"\r\n">>, [global]),
                  [Name, Value] <- [binary:split(Line, <<":">>)]],
    case lists:keyfind(<<"sec-websocket-key">>, 1, Headers) of
        {_, Key} -> {ok, Key};
        false -> none
    end.

handle_frames(Bytes, #data{socket = Socket} = Data) ->
    case unframe(Bytes) of
        more ->
            _ = inet:setopts(Socket, [{active, once}]),
            {keep_state, Data#data{buffer = Bytes}};
        {?CLOSE, _Payload, _Rest} ->
            {stop, normal, Data};
        {?PING, Payload, Rest} ->
            _ = gen_tcp:send(Socket, frame(?PONG, Payload)),
            handle_frames(Rest, Data);
        {?BINARY, Payload, Rest} ->
            handle_frames(Rest, handle_packet(iris_proto:decode(Payload), Data));
        {_Other, _Payload, Rest} ->
            handle_frames(Rest, Data)
    end.

handle_packet({more, _Incomplete}, Data) ->
    Data;
handle_packet({Packet, <<>>}, #data{socket = Socket, user = User} = Data) ->
    {ok, NewUser, Actions} = iris_session:handle_packet(Packet, User, self(), ?MODULE),
    [_ = gen_tcp:send(Socket, frame(?BINARY, Bytes)) || {send, Bytes} <- Actions],
    Data#data{user = NewUser};
handle_packet({_Packet, _TwoInOneFrame}, Data) ->
    Data.

%% Frames: clients mask theirs, servers do not.

unframe(<<_Fin:4, Opcode:4, 1:1, 127:7, Len:64, Mask:4/binary, Payload:Len/binary, Rest/binary>>) ->
    {Opcode, unmask(Payload, Mask), Rest};
unframe(<<_Fin:4, Opcode:4, 1:1, 126:7, Len:16, Mask:4/binary, Payload:Len/binary, Rest/binary>>) ->
    {Opcode, unmask(Payload, Mask), Rest};
unframe(<<_Fin:4, Opcode:4, 1:1, Len:7, Mask:4/binary, Payload:Len/binary, Rest/binary>>) when Len < 126 ->
    {Opcode, unmask(Payload, Mask), Rest};
unframe(_Incomplete) ->
    more.

unmask(Payload, Mask) ->
    Repeated = binary:copy(Mask, byte_size(Payload) div 4 + 1),
    crypto:exor(Payload, binary:part(Repeated, 0, byte_size(Payload))).

frame(Opcode, Payload) ->
    Header = case byte_size(Payload) of
                 Len when Len < 126 -> <<8:4, Opcode:4, 0:1, Len:7>>;
                 Len when Len < 65536 -> <<8:4, Opcode:4, 0:1, 126:7, Len:16>>;
                 Len -> <<8:4, Opcode:4, 0:1, 127:7, Len:64>>
             end,
    [Header, Payload].
