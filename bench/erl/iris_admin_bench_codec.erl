%% The BEAM's side of bench/codec.py: makes the payloads and times its own codec, one request a line.
-module(iris_admin_bench_codec).
-export([main/0]).

main() ->
    loop(#{}).

loop(Payloads) ->
    case io:get_line("") of
        eof ->
            halt(0);
        Line ->
            case string:lexemes(Line, " \n") of
                ["make", Name, Count, File] ->
                    Data = term_to_binary(payload(Name, list_to_integer(Count))),
                    ok = file:write_file(File, Data),
                    io:format("~b~n", [byte_size(Data)]),
                    loop(Payloads#{Name => Data});
                ["time", Name] ->
                    {Decode, Encode} = time(maps:get(Name, Payloads)),
                    io:format("~b ~b~n", [Decode, Encode]),
                    loop(Payloads)
            end
    end.

%% Nanoseconds of decoding and of encoding, in a fresh process each time, as a call that came from elsewhere would.
time(Data) ->
    Parent = self(),
    {_, Monitor} = spawn_monitor(fun() ->
        Start = erlang:monotonic_time(nanosecond),
        Term = binary_to_term(Data),
        Decoded = erlang:monotonic_time(nanosecond),
        erlang:garbage_collect(),
        Restart = erlang:monotonic_time(nanosecond),
        Encoded = term_to_binary(Term),
        End = erlang:monotonic_time(nanosecond),
        true = byte_size(Encoded) =:= byte_size(Data),
        Parent ! {took, Decoded - Start, End - Restart}
    end),
    receive
        {'DOWN', Monitor, process, _, normal} -> receive {took, Decode, Encode} -> {Decode, Encode} end
    end.

payload("rows", Count) ->
    [
        {offline_msg, {<<"user", (integer_to_binary(I rem 5000))/binary>>, I rem 16}, 1700000000000000 + I * 977,
            binary:copy(<<($a + I rem 26)>>, 200)}
     || I <- lists:seq(1, Count)
    ];
payload("maps", Count) ->
    [
        #{
            pid => self(),
            registered_name => [],
            memory => 2000 + I * 8,
            message_queue_len => I rem 7,
            reductions => I * 1013,
            status => waiting,
            current_function => {gen_server, loop, 7},
            initial_call => {proc_lib, init_p, 5},
            total_heap_size => 233 + I rem 1000,
            heap_size => 233,
            stack_size => 11,
            links => [self()],
            trap_exit => I rem 2 =:= 0,
            priority => normal,
            current_stacktrace => []
        }
     || I <- lists:seq(1, Count)
    ].
