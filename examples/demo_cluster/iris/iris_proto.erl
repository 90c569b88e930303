%% The client protocol; all lengths are big-endian.
%%
%% client to edge                                     edge to client
%%   1  User                        log in             3  "LOGIN_OK"
%%   2  Len16 Target Len16 Msg      send               16 Len16 MsgId Len32 Msg      a message
%%   3  MsgId                       acknowledge        6  Len16 User Online8 Seen64  a status
%%   5  Len16 User                  ask for a status
%%
%% Log-in and acknowledgement carry no length: they take everything that has arrived with them. So a
%% client must not send anything right behind one; two acknowledgements that travel in one segment are
%% read as one with an unknown id. (A status question in front of an acknowledgement is answered, and
%% the answer tells the client that the way is free again.)
-module(iris_proto).

-export([decode/1, encode_reliable_msg/2, encode_status/3, generate_msg_id/0]).

-define(MAX_USER, 256).
-define(MAX_MSG_ID, 64).

-type packet() :: {login, binary()}
                | {send_message, binary(), binary()}
                | {ack, binary()}
                | {get_status, binary()}
                | {error, term()}.

-spec decode(binary()) -> {packet(), Rest :: binary()} | {more, binary()}.
decode(<<1, User/binary>>) when byte_size(User) =< ?MAX_USER ->
    {{login, User}, <<>>};
decode(<<2, TargetLen:16, _/binary>>) when TargetLen > ?MAX_USER ->
    {{error, target_too_long}, <<>>};
decode(<<2, TargetLen:16, Target:TargetLen/binary, MsgLen:16, Msg:MsgLen/binary, Rest/binary>>) ->
    {{send_message, Target, Msg}, Rest};
decode(<<3, MsgId/binary>>) when byte_size(MsgId) =< ?MAX_MSG_ID ->
    {{ack, MsgId}, <<>>};
decode(<<5, UserLen:16, _/binary>>) when UserLen > ?MAX_USER ->
    {{error, target_too_long}, <<>>};
decode(<<5, UserLen:16, User:UserLen/binary, Rest/binary>>) ->
    {{get_status, User}, Rest};
decode(<<Incomplete, _/binary>> = Bytes) when Incomplete =:= 2; Incomplete =:= 5 ->
    {more, Bytes};
decode(<<>>) ->
    {more, <<>>};
decode(<<Opcode, _/binary>>) ->
    {{error, {unusable_packet, Opcode}}, <<>>}.

-spec encode_reliable_msg(binary(), binary()) -> binary().
encode_reliable_msg(MsgId, Msg) ->
    <<16, (byte_size(MsgId)):16, MsgId/binary, (byte_size(Msg)):32, Msg/binary>>.

-spec encode_status(binary(), online | offline, non_neg_integer()) -> binary().
encode_status(User, State, LastSeen) ->
    Online = case State of online -> 1; offline -> 0 end,
    <<6, (byte_size(User)):16, User/binary, Online, LastSeen:64>>.

%% Unique in the cluster's lifetime.
-spec generate_msg_id() -> <<_:128>>.
generate_msg_id() ->
    <<(erlang:monotonic_time()):64, (erlang:unique_integer([positive])):32, (erlang:phash2(node())):32>>.
